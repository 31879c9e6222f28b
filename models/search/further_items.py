"""Adds items that the search did not find to a ranking, by an estimate of their scores.

List control needs many candidates, of which few are listed. A search that finds as many is slow, but its query gives
the relevance of every item, which is the larger part of the score. The log-probability is estimated as for items of
the user's own history (see `models.search.history.own_items`). This module does not need PyTorch.

Shapes: N leaves, K items of a ranking, E excluded leaves, D width.
"""

from collections.abc import Sequence

import numpy as np

from rqrec.models.array_types import BoolArray, FloatArray, IntArray
from rqrec.models.search.eligibility import Eligibility
from rqrec.models.search.new.new_item_scores import NewItemScores
from rqrec.models.search.ranking import Ranking, SearchOutput


class FurtherItems:
    """Makes rankings longer by items that the model has learnt to generate.

    Args:
        is_new_N: Whether the item of each leaf is new, bool (see `models.search.new.new_items`). New items are ranked
            among the found ones anyway, so they are no further items.
        item_vectors_ND: The vector of the item of each leaf, float32.
        relevance_weight: The weight of relevance in score = log_prob + relevance_weight * relevance, above 0.

    Example:
        The search found leaf 0, with the relevance 1 and the log-probability -1. Leaf 2 is excluded.

        >>> vectors_ND = np.float32([[1, 0], [1, 1], [1, 0]])
        >>> further = FurtherItems(np.zeros(3, np.bool_), vectors_ND, relevance_weight=4.0)
        >>> log_probs_BK, scores_BK = np.float32([[-1]]), np.float32([[3]])
        >>> found = SearchOutput(np.int32([[0]]), log_probs_BK, scores_BK, np.float32([[4, 0]]))
        >>> from rqrec.models.trie.trie import SemanticIdTrie
        >>> trie = SemanticIdTrie.build(np.array([[0], [1], [2]]), codebook_size=3)
        >>> rankings = [Ranking(np.array([0]), log_probs_BK[0], scores_BK[0])]
        >>> (longer,) = further.joined(rankings, found, np.array([[2]]), Eligibility.everything(trie), count=5)
        >>> longer.leaves_K.tolist(), [f"{score:.2f}" for score in longer.scores_K.tolist()]
        ([0, 1], ['3.00', '1.54'])
    """

    def __init__(self, is_new_N: BoolArray, item_vectors_ND: FloatArray, *, relevance_weight: float) -> None:
        lengths_N = np.linalg.norm(item_vectors_ND, axis=1)
        self._vectors_ND = item_vectors_ND
        self._factors_N = np.where(is_new_N, 0, 1 / np.maximum(lengths_N, np.finfo(np.float32).tiny)).astype(np.float32)
        self._is_new_N = is_new_N
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
        offsets_B, lowest_B = self._estimator.offsets(found), self._estimator.lowest(found)
        closed_N = self._is_new_N | ~eligibility.mask_N
        longer = []
        for user, (ranking, excluded_E) in enumerate(zip(rankings, excluded_BE, strict=True)):
            weighted_N = (self._vectors_ND @ found.queries_BD[user]) * self._factors_N
            weighted_N[closed_N] = -np.inf
            weighted_N[excluded_E[excluded_E >= 0]] = -np.inf
            weighted_N[ranking.leaves_K[ranking.leaves_K < len(weighted_N)]] = -np.inf
            leaves = _largest(weighted_N, count)
            weighted = weighted_N[leaves]
            log_probs = np.minimum(weighted / self._estimator.relevance_weight + offsets_B[user], lowest_B[user])
            longer.append(_merged(ranking, Ranking(leaves, log_probs, log_probs + weighted)))
        return longer


def _largest(values_N: FloatArray, count: int) -> IntArray:
    """The positions of the largest values that are not -inf, at most `count`, in no order."""
    largest: IntArray = np.arange(len(values_N))
    if count < len(values_N):
        largest = np.argpartition(-values_N, count)[:count]
    return largest[values_N[largest] > -np.inf]


def _merged(one: Ranking, other: Ranking) -> Ranking:
    """The items of two rankings by score. Of equal scores, an item of the first ranking comes first."""
    scores_K = np.concatenate([one.scores_K, other.scores_K])
    order_K = np.argsort(-scores_K, kind="stable")
    leaves_K = np.concatenate([one.leaves_K, other.leaves_K])[order_K]
    log_probs_K = np.concatenate([one.log_probs_K, other.log_probs_K])[order_K]
    return Ranking(leaves_K, log_probs_K, scores_K[order_K])
