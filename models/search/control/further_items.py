"""Adds items that the search did not find to a ranking, by an estimate of their scores.

List control needs many candidates, of which few are listed. A search that finds as many is slow, but its query gives
the relevance of every item, which is the larger part of the score. The log-probability is estimated as for items of
the user's own history (see `models.search.history.own_items`). This module does not need PyTorch.

Shapes: N leaves, P compared items, K items of a ranking, E excluded leaves, D width.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from rqrec.models.array_types import FloatArray, IntArray
from rqrec.models.search.eligibility import Eligibility
from rqrec.models.search.new.new_item_scores import NewItemScores
from rqrec.models.search.ranking import Ranking, SearchOutput
from rqrec.models.vector_index import unit_rows

COMPARED = 16_384  # items whose relevance is computed for a user


class FurtherItems:
    """Makes rankings longer by items that the model has learnt to generate: the most popular ones of a large catalogue.

    Args:
        popularity_N: How often users chose the item of each leaf in the training data. An item that nobody chose is new
            (see `models.search.new.new_items`). New items are ranked among the found ones anyway, so they are no
            further items.
        item_vectors_ND: The vector of the item of each leaf, float32.
        relevance_weight: The weight of relevance in score = log_prob + relevance_weight * relevance, above 0.
        compared: The largest number of items whose relevance is computed for a user.

    Example:
        The search found leaf 0, with the relevance 1 and the log-probability -1. Leaf 2 is excluded.

        >>> from rqrec.models.trie.trie import SemanticIdTrie
        >>> vectors_ND = np.float32([[1, 0], [1, 1], [1, 0]])
        >>> further = FurtherItems(np.ones(3), vectors_ND, relevance_weight=4.0)
        >>> log_probs_BK, scores_BK = np.float32([[-1]]), np.float32([[3]])
        >>> found = SearchOutput(np.int32([[0]]), log_probs_BK, scores_BK, np.float32([[4, 0]]))
        >>> trie = SemanticIdTrie.build(np.array([[0], [1], [2]]), codebook_size=3)
        >>> rankings = [Ranking(np.array([0]), log_probs_BK[0], scores_BK[0])]
        >>> (longer,) = further.joined(rankings, found, np.array([[2]]), Eligibility.everything(trie), count=5)
        >>> longer.leaves_K.tolist(), [f"{score:.2f}" for score in longer.scores_K.tolist()]
        ([0, 1], ['3.00', '1.54'])
    """

    def __init__(
        self,
        popularity_N: NDArray[np.number],
        item_vectors_ND: FloatArray,
        *,
        relevance_weight: float,
        compared: int = COMPARED,
    ) -> None:
        popular = np.argsort(-popularity_N, kind="stable")[:compared]
        self._leaves_P = np.sort(popular[popularity_N[popular] > 0])
        self._units_PD = unit_rows(item_vectors_ND[self._leaves_P])
        self._estimator = NewItemScores(relevance_weight)

    def joined(
        self,
        rankings: Sequence[Ranking],
        found: SearchOutput,
        excluded_BE: IntArray,
        eligibility: Eligibility,
        *,
        count: int,
    ) -> list[Ranking]:
        """Returns rankings of the same items and at most `count` further ones, sorted by score.

        Args:
            rankings: The ranking of each user.
            found: What the search found, or the result of `OwnItems.merged`.
            excluded_BE: For each user, the leaves that must not be returned: distinct, padded with -1, int64.
            eligibility: The items that pass the filter, the same for all users.
            count: How many further items to add to each ranking; those of the highest relevance.
        """
        if not len(self._leaves_P):
            return [*rankings]
        offsets_B, lowest_B = self._estimator.offsets(found), self._estimator.lowest(found)
        closed_P = ~eligibility.mask_N[self._leaves_P]
        longer = []
        for user, (ranking, excluded_E) in enumerate(zip(rankings, excluded_BE, strict=True)):
            weighted_P = self._units_PD @ found.queries_BD[user]
            weighted_P[closed_P] = -np.inf
            weighted_P[self._rows_of(np.concatenate([excluded_E, ranking.leaves_K]))] = -np.inf
            rows = _largest(weighted_P, count)
            log_probs = weighted_P[rows] / self._estimator.relevance_weight + offsets_B[user]
            log_probs = np.minimum(log_probs, lowest_B[user])
            further = Ranking(self._leaves_P[rows], log_probs, log_probs + weighted_P[rows])
            longer.append(Ranking.joined([ranking, further]).by_score())
        return longer

    def _rows_of(self, places: IntArray) -> IntArray:
        """The rows of those items that are compared."""
        rows = np.minimum(np.searchsorted(self._leaves_P, places), len(self._leaves_P) - 1)
        compared: IntArray = rows[self._leaves_P[rows] == places]
        return compared


def _largest(values_N: FloatArray, count: int) -> IntArray:
    """The positions of the largest values that are not -inf, at most `count`, in no order."""
    largest: IntArray = np.arange(len(values_N))
    if count < len(values_N):
        largest = np.argpartition(-values_N, count)[:count]
    return largest[values_N[largest] > -np.inf]
