"""Recommends new items, which the retriever did not learn to generate, together with the items that the search found.

A new item is an item that nobody chose in the training data, or that was added after training. Its vector is a mean
over similar known items (see `models.items.content_neighbours`), so it has a relevance like every other item. Its
log-probability is estimated (see `models.search.new.new_item_scores`). This module does not need PyTorch.

Shapes: B users, K beams, N leaves, M added items, X new items of a list, Y = K + X items of both
kinds or excluded items of all users, D width.
"""

from collections.abc import Sequence

import numpy as np

from rqrec.models.array_types import BoolArray, FloatArray, IntArray
from rqrec.models.growing_array import GrowingArray
from rqrec.models.search.eligibility import Candidates, Eligibility
from rqrec.models.search.new.new_item_index import COMPARED, ComparedItems, NewItemIndex
from rqrec.models.search.new.new_item_scores import NewItemScores
from rqrec.models.search.ranking import Ranking, SearchOutput, rankings
from rqrec.models.trie.trie import SemanticIdTrie

NOTHING: IntArray = np.empty(0, dtype=np.int64)


class NewItems:
    """The new items of a catalogue, which `merged` ranks together with the items that the search found.

    The place of an item is its leaf in the trie, or a number after all leaves for an item that was added later.

    Args:
        index: The places and vectors of the new items.
        is_new_N: Whether the item of each leaf is new, bool. `merged` ignores such leaves in the result of the search.
        scores: Estimates the scores of new items.

    Example:
        Three items; leaf 2 is new. The search found the leaves 0 and 1. The relevance of leaf 2 is 3. Its estimated
        score is higher than the score of leaf 1, so leaf 2 is second in the list.

        >>> vectors_ND = np.float32([[0, 1], [0, 1], [2, 0]])
        >>> new = NewItems.from_mask(np.array([False, False, True]), vectors_ND, relevance_weight=1.0)
        >>> log_probs_BK, scores_BK = np.float32([[-1, -2]]), np.float32([[2, -1]])
        >>> found = SearchOutput(np.int32([[0, 1]]), log_probs_BK, scores_BK, np.float32([[3, 0]]))
        >>> trie = SemanticIdTrie.build(np.array([[0, 1], [0, 3], [1, 0]]), codebook_size=4)
        >>> (ranking,) = new.merged(found, [np.int64([])], Eligibility.everything(trie), k=2, reserved=[0])
        >>> ranking.leaves_K.tolist(), ranking.log_probs_K.tolist(), ranking.scores_K.tolist()
        ([0, 2], [-1.0, -1.5], [2.0, 0.5])
    """

    def __init__(self, index: NewItemIndex, is_new_N: BoolArray, scores: NewItemScores) -> None:
        self._index, self._is_new_N, self._scores = index, is_new_N, scores

    @classmethod
    def from_mask(cls, is_new_N: BoolArray, item_vectors_ND: FloatArray, *, relevance_weight: float) -> "NewItems":
        """Makes the set of new items from a mask of the leaves.

        The set is empty if the relevance weight is 0. The search alone then finds these items.

        Args:
            is_new_N: Whether the item of each leaf is new, bool.
            item_vectors_ND: The vector of the item of each leaf, float32.
            relevance_weight: The weight of relevance in score = log_prob + relevance_weight * relevance; at least 0.
        """
        is_new_N = is_new_N & (relevance_weight > 0)
        leaves_M = np.flatnonzero(is_new_N)
        index = NewItemIndex.from_vectors(leaves_M, item_vectors_ND[leaves_M])
        return cls(index, is_new_N, NewItemScores(relevance_weight))

    @classmethod
    def none(cls, trie: SemanticIdTrie, width: int) -> "NewItems":
        """Makes an empty set of new items, for a model whose relevance weight is 0.

        Such a model has no relevance by which to rank new items among the items that the search found. So items that
        are added to this set come after all items that the search found.

        Args:
            trie: The catalogue's trie.
            width: D, the width of item vectors.
        """
        nothing_MD = np.empty((0, width), dtype=np.float32)
        index = NewItemIndex(GrowingArray(np.empty(0, dtype=np.int64)), GrowingArray(nothing_MD))
        return cls(index, np.zeros(trie.num_leaves, dtype=np.bool_), NewItemScores(0.0))

    def with_added(self, places_M: IntArray, vectors_MD: FloatArray) -> "NewItems":
        """Makes a set of the new items of this set and further new items. This set does not change.

        Args:
            places_M: The places (item numbers) of the added items, int64.
            vectors_MD: The vectors of the added items, float32.
        """
        return NewItems(self._index.with_added(places_M, vectors_MD), self._is_new_N, self._scores)

    def __len__(self) -> int:
        return len(self._index)

    def candidates(self, eligibility: Eligibility) -> Candidates:
        """Finds the new items that pass a filter.

        It looks at every new item. To be fast, callers keep the result for later requests with the same filter.
        """
        return self._index.eligible(eligibility)

    def merged(
        self,
        found: SearchOutput,
        excluded: Sequence[IntArray],
        eligibility: Eligibility,
        *,
        k: int,
        reserved: Sequence[int],
    ) -> list[Ranking]:
        """Ranks the found items and the new items together, and returns the k best items of each user.

        Args:
            found: The items that the search found, or the result of `OwnItems.merged`. New items in it are ignored.
            excluded: For each user, the places (item numbers) of items that must not be returned, int64.
            eligibility: The items that pass the filter, the same for all users.
            k: How many items to return for each user.
            reserved: For each user, how many of the k items must be new items, if so many are eligible.
        """
        leaves_BK, log_probs_BK, scores_BK = found.leaves_BK[:, :k], found.log_probs_BK[:, :k], found.scores_BK[:, :k]
        is_new_BK = self._is_new_N[found.leaves_BK]
        is_full_B = (scores_BK[:, -1] > -np.inf) & ~is_new_BK[:, :k].any(axis=1) & (scores_BK.shape[1] == k)
        offsets_B = self._scores.offsets(found)
        candidates = eligibility.candidates or self._index.possible(eligibility)
        compared = self._index.compare(candidates, found.queries_BD)
        best_B = self._scores.estimate(compared.largest_B, offsets_B)[1]
        reserved_B = np.asarray(reserved)
        stays_B = is_full_B & (reserved_B == 0) & (best_B <= scores_BK[:, -1])
        users = np.flatnonzero(~stays_B).tolist()
        if not users:
            return rankings(leaves_BK, log_probs_BK, scores_BK)
        some = slice(None) if len(users) == len(excluded) else users  # a slice copies nothing
        chosen, barred = found.of_users(some), [excluded[user] for user in users]
        if candidates.clusters is None:
            best = self._index.best_of_all(compared.of_users(some), *self._new_among(barred), k=k)
        else:
            best = self._best_of_clusters(compared.of_users(some), chosen.queries_BD, barred, eligibility, k=k)
        is_known_BK = ~is_new_BK[some] & (chosen.leaves_BK >= 0)
        joined = self._joined(chosen, is_known_BK, *best, offsets_B[some], k=k, reserved_B=reserved_B[some])
        if len(users) == len(excluded):
            return rankings(*joined)
        # A list that stays has k items, so the joined lists have k columns too.
        leaves_BK, log_probs_BK, scores_BK = leaves_BK.copy(), log_probs_BK.copy(), scores_BK.copy()
        leaves_BK[users], log_probs_BK[users], scores_BK[users] = joined
        return rankings(leaves_BK, log_probs_BK, scores_BK)

    def _new_among(self, places: Sequence[IntArray]) -> tuple[IntArray, IntArray]:
        """Finds the new items among users' places: the number of the user, and the place."""
        place_Y = np.concatenate(places)
        is_new_Y = (place_Y >= len(self._is_new_N)) | self._is_new_N.take(place_Y, mode="clip")
        if not is_new_Y.any():
            return NOTHING, NOTHING
        user_Y = np.repeat(np.arange(len(places)), [len(places_X) for places_X in places])
        return user_Y[is_new_Y], place_Y[is_new_Y]

    def _best_of_clusters(
        self,
        compared: ComparedItems,
        queries_BD: FloatArray,
        excluded: Sequence[IntArray],
        eligibility: Eligibility,
        *,
        k: int,
    ) -> tuple[IntArray, FloatArray]:
        """Finds the best of the compared rows of each user; more rows are compared where these do not suffice."""
        places_BK, weighted_BK = np.full((len(excluded), k), -1), np.full((len(excluded), k), -np.inf, np.float32)
        for user, excluded_X in enumerate(excluded):
            top = self._index.best(*compared.of_user(user), excluded_X, eligibility, k=k)
            if len(top[0]) < k:  # too many are deleted, excluded or not eligible
                every, query_1D = eligibility.candidates or self.candidates(eligibility), queries_BD[user, None]
                more = self._index.compare(every, query_1D, count=COMPARED + len(excluded_X)).of_user(0)
                top = self._index.best(*more, excluded_X, eligibility, k=k)
            places_BK[user, : len(top[0])], weighted_BK[user, : len(top[0])] = top
        return places_BK, weighted_BK

    def _joined(
        self,
        found: SearchOutput,
        is_known_BK: BoolArray,
        places_BX: IntArray,
        weighted_BX: FloatArray,
        offsets_B: FloatArray,
        *,
        k: int,
        reserved_B: IntArray,
    ) -> tuple[IntArray, FloatArray, FloatArray]:
        """The lists of found and new items, which come best first. Of equal scores, a found item comes first."""
        rows_B1 = np.arange(len(offsets_B))[:, None]
        log_probs_BX, scores_BX = self._scores.estimate(weighted_BX, offsets_B[:, None])
        leaves_BY = np.concatenate([found.leaves_BK, places_BX], axis=1)
        log_probs_BY = np.concatenate([found.log_probs_BK, log_probs_BX], axis=1)
        scores_BY = np.concatenate([np.where(is_known_BK, found.scores_BK, np.float32(-np.inf)), scores_BX], axis=1)
        if not reserved_B.any():
            chosen_BK = np.argsort(-scores_BY, axis=1, kind="stable")[:, :k]
        else:  # the reserved items are chosen first, and listed by their true score
            wanted_BY, first = scores_BY.copy(), is_known_BK.shape[1]
            is_reserved_BX = (np.arange(scores_BX.shape[1]) < reserved_B[:, None]) & (scores_BX > -np.inf)
            wanted_BY[:, first:][is_reserved_BX] = np.inf
            chosen_BK = np.argsort(-wanted_BY, axis=1, kind="stable")[:, :k]
            chosen_BK = chosen_BK[rows_B1, np.argsort(-scores_BY[rows_B1, chosen_BK], axis=1, kind="stable")]
        return leaves_BY[rows_B1, chosen_BK], log_probs_BY[rows_B1, chosen_BK], scores_BY[rows_B1, chosen_BK]
