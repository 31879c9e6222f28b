"""Items that the retriever never learnt to generate: how they get a vector, and how they get into a list.

Nobody chose them in training, or they were written since. The code decoder has only ever been told that nothing is
there; so those written since are not in its trie at all. What speaks for them is their content: they take the mean
vector of the known items most like them (content to collaborative vector, as van den Oord et al. 2013 do with a
network), are rated by the cosine like every item, and join the candidates that the search found. Of many new items only
those of the clusters nearest to a user are rated. Needs no torch.

Shapes: B users, k items asked for, K beams, N leaves or known items, M new items, X of them that are rated, or known
items that are compared, Y the nearest of these, E feature columns, P content width, D width.
"""

from collections.abc import Sequence

import numpy as np

from rqrec.models.array_types import BoolArray, FloatArray, IntArray
from rqrec.models.growing_array import GrowingArray
from rqrec.models.search.eligibility import Candidates, Eligibility
from rqrec.models.search.ranking import Ranking, SearchOutput, rankings
from rqrec.models.search.vector_index import VectorIndex, unit_rows
from rqrec.models.trie.trie import SemanticIdTrie

ANCHORS = 10
# Taken off a rating, for a mean of vectors is surer than it should be. At 1.0 the lists of Amazon Beauty hold about as
# large a share of new items as the catalogue does.
CAUTION = 1.0
# So many new items are all rated; of more, as many of the nearest clusters, beside those that came last.
RATED_ALL = 4096
RATED = 1024
UNSORTED = 1024
SPARE = 64  # candidates beyond those asked for, should some be gone


class NewItems:
    """The new items of a catalogue, as candidates beside those that the search found.

    Args:
        places: Their places: leaves of the trie, or added ones (see `models.search.eligibility`).
        units: Their vectors at unit length.
        is_new_N: Which leaves are among them.
        relevance_weight: Of the rating beside the log-probability (see `Retriever.rerank`); at 0 the
            new items come after all that the search found.
        index: Of the first of them, where they are many.
    """

    def __init__(
        self,
        places: GrowingArray[np.int64],
        units: GrowingArray[np.float32],
        is_new_N: BoolArray,
        *,
        relevance_weight: float,
        index: VectorIndex | None = None,
    ) -> None:
        self._is_new_N, self._weight = is_new_N, relevance_weight
        self._places, self._units, self._index = _indexed(places, units, index)

    @classmethod
    def from_mask(cls, is_new_N: BoolArray, item_vectors_ND: FloatArray, *, relevance_weight: float) -> "NewItems":
        """Those of the leaves that are new; none where ratings count for nothing, for the search finds them."""
        is_new_N = is_new_N & (relevance_weight > 0)
        leaves_M = np.flatnonzero(is_new_N)
        units_MD = unit_rows(item_vectors_ND[leaves_M])
        return cls(GrowingArray(leaves_M), GrowingArray(units_MD), is_new_N, relevance_weight=relevance_weight)

    @classmethod
    def none(cls, trie: SemanticIdTrie, width: int) -> "NewItems":
        """No new items yet, for a model whose ratings count for nothing."""
        nothing_MD = np.empty((0, width), dtype=np.float32)
        is_new_N = np.zeros(trie.num_leaves, dtype=np.bool_)
        return cls(GrowingArray(np.empty(0, dtype=np.int64)), GrowingArray(nothing_MD), is_new_N, relevance_weight=0.0)

    def with_added(self, places_M: IntArray, vectors_MD: FloatArray) -> "NewItems":
        """These and more."""
        return NewItems(
            self._places.extended(places_M),
            self._units.extended(unit_rows(vectors_MD)),
            self._is_new_N,
            relevance_weight=self._weight,
            index=self._index,
        )

    def __len__(self) -> int:
        return len(self._places)

    def candidates(self, eligibility: Eligibility) -> Candidates:
        """Those of them that are eligible; takes time for each of them, so it is worth keeping."""
        allowed_M = eligibility.allows(self._places.rows)
        if self._index is None or np.count_nonzero(allowed_M) <= RATED_ALL:
            return Candidates(np.flatnonzero(allowed_M), None)
        end = len(self._index)
        return Candidates(end + np.flatnonzero(allowed_M[end:]), self._index.among(allowed_M[:end]))

    def merged(
        self,
        found: SearchOutput,
        excluded: Sequence[IntArray],
        eligibility: Eligibility,
        *,
        k: int,
        reserved: Sequence[int],
    ) -> list[Ranking]:
        """The k best of the found and the new items.

        A new item's log-probability is estimated: its rating, plus what the found items' log-probabilities have over
        their ratings on average.

        Args:
            found: What the search found; new items among it are passed over.
            excluded: For each user, places that it must not get.
            eligibility: The places that any user may get.
            k: How many items to return.
            reserved: For each user, how many of them shall be new items, if so many are eligible.
        """
        leaves_BK, log_probs_BK, scores_BK = found.leaves_BK[:, :k], found.log_probs_BK[:, :k], found.scores_BK[:, :k]
        lists = rankings(leaves_BK, log_probs_BK, scores_BK)
        is_full_B = (scores_BK[:, -1] > -np.inf) & ~self._is_new_N[leaves_BK].any(axis=1) & (scores_BK.shape[1] == k)
        offsets_B = self._offsets(found)
        candidates = eligibility.candidates or self._unrestricted()
        all_BX = self._dots(candidates, found.queries_BD)
        for user, query_D in enumerate(found.queries_BD):
            rows_X, dots_X = self._rated(candidates, query_D, None if all_BX is None else all_BX[user])
            best = self._score(dots_X.max(initial=-np.inf), offsets_B[user])[1]
            if is_full_B[user] and not reserved[user] and best <= scores_BK[user, -1]:  # no new item comes in
                continue
            top = self._best(rows_X, dots_X, excluded[user], eligibility, k)
            if len(top[0]) < k and candidates.clusters is not None:  # many were gone or excluded, or passed no filter
                every = eligibility.candidates or self.candidates(eligibility)
                wanted = RATED + len(excluded[user])
                top = self._best(*self._rated(every, query_D, None, wanted), excluded[user], eligibility, k)
            lists[user] = self._joined(found, user, *top, offsets_B[user], k=k, reserved=reserved[user])
        return lists

    def _unrestricted(self) -> Candidates:
        """All of them; whether one is eligible is asked of those that would come into a list."""
        return Candidates(np.arange(0 if self._index is None else len(self._index), len(self)), self._index)

    def _dots(self, candidates: Candidates, queries_BD: FloatArray) -> FloatArray | None:
        """The products of all users and candidates; None where there are too many candidates."""
        if candidates.clusters is not None:
            return None
        rows_X, units_MD = candidates.rows_X, self._units.rows
        return np.asarray(queries_BD @ (units_MD if len(rows_X) == len(self) else units_MD[rows_X]).T)

    def _rated(
        self, candidates: Candidates, query_D: FloatArray, dots_X: FloatArray | None, count: int = RATED
    ) -> tuple[IntArray, FloatArray]:
        """The candidates that a user's query is compared with, and the products."""
        rows_X = candidates.rows_X
        if candidates.clusters is not None:
            nearest_X = candidates.clusters.rows(query_D, count)
            rows_X = np.concatenate([nearest_X, rows_X]) if len(rows_X) else nearest_X
        if dots_X is None:
            dots_X = self._units.rows.take(rows_X, axis=0) @ query_D
        return rows_X, dots_X

    def _best(
        self, rows_X: IntArray, dots_X: FloatArray, excluded: IntArray, eligibility: Eligibility, k: int
    ) -> tuple[IntArray, FloatArray]:
        """The places and products of the k best that a user may get, best first."""
        for count in (k + SPARE + len(excluded), len(rows_X)):
            top = np.argpartition(-dots_X, count - 1)[:count] if count < len(rows_X) else np.arange(len(rows_X))
            top = top[np.lexsort((rows_X[top], -dots_X[top]))]
            places = self._places.rows[rows_X[top]]
            is_good = eligibility.allows(places) & ~np.isin(places, excluded)
            if np.count_nonzero(is_good) >= k:
                break
        return places[is_good][:k], dots_X[top][is_good][:k]

    def _joined(
        self,
        found: SearchOutput,
        user: int,
        places: IntArray,
        dots: FloatArray,
        offset: np.float32,
        *,
        k: int,
        reserved: int,
    ) -> Ranking:
        """A user's list of both kinds; of equal scores the found item comes first."""
        leaves_K, scores_K = found.leaves_BK[user], found.scores_BK[user]
        known = (leaves_K >= 0) & ~self._is_new_N[leaves_K] & (scores_K > -np.inf)
        log_probs_new, scores_new = self._score(dots, offset)
        leaves_X = np.concatenate([leaves_K[known], places])
        log_probs_X = np.concatenate([found.log_probs_BK[user][known], log_probs_new])
        scores_X = np.concatenate([scores_K[known], scores_new])
        wanted_X = scores_X.copy()
        first = np.count_nonzero(known)
        wanted_X[first : first + reserved] = np.inf  # chosen before better ones, and listed where they belong
        chosen = np.argsort(-wanted_X, kind="stable")[:k]
        chosen = chosen[np.argsort(-scores_X[chosen], kind="stable")]
        return Ranking(leaves_X[chosen].astype(np.int64), log_probs_X[chosen], scores_X[chosen])

    def _score(self, dots: FloatArray, offset: np.float32) -> tuple[FloatArray, FloatArray]:
        """The log-probabilities and scores of new items by their products with a user's query."""
        ratings = dots / np.float32(self._weight or 1) - np.float32(CAUTION)
        log_probs = np.minimum(ratings + offset, np.float32(0))
        return log_probs, log_probs + np.float32(self._weight) * ratings

    def _offsets(self, found: SearchOutput) -> FloatArray:
        """Each user's mean of log-probability less rating over the best found items, 0 where there are none.

        Where ratings count for nothing, the least log-probability: no new item comes before a found one.
        """
        is_found_BK = found.scores_BK > -np.inf
        if not self._weight:
            return np.asarray(np.where(is_found_BK, found.log_probs_BK, 0).min(axis=1, initial=0))
        is_found_BX = is_found_BK[:, :ANCHORS]
        log_probs_BX, scores_BX = found.log_probs_BK[:, :ANCHORS], found.scores_BK[:, :ANCHORS]
        log_probs_BX, scores_BX = np.where(is_found_BX, log_probs_BX, 0), np.where(is_found_BX, scores_BX, 0)
        differences_B = (log_probs_BX - (scores_BX - log_probs_BX) / self._weight).sum(axis=1)
        return np.asarray(differences_B / np.maximum(is_found_BX.sum(axis=1), 1), dtype=np.float32)


def _indexed(
    places: GrowingArray[np.int64], units: GrowingArray[np.float32], index: VectorIndex | None
) -> tuple[GrowingArray[np.int64], GrowingArray[np.float32], VectorIndex | None]:
    """The rows with an index, where they are many; a few at their end may be in none.

    Clusters are found anew when there are twice as many rows; these then get the order of their clusters.
    """
    if len(units) <= RATED_ALL:
        return places, units, None
    if index is None or len(units) >= 2 * index.trained_on:
        index = VectorIndex.build(units.rows)
        places, units = GrowingArray(places.rows[index.order_X]), GrowingArray(units.rows[index.order_X])
        return places, units, index.reordered()
    return places, units, index.with_rows(units.rows) if len(units) - len(index) > UNSORTED else index
