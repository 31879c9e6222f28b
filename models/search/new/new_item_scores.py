"""Estimates the scores of new items, for which the code decoder computes no usable log-probability.

This module does not need PyTorch.

Shapes: B users, K beams, X new items or best found items.
"""

from dataclasses import dataclass

import numpy as np

from rqrec.models.array_types import FloatArray
from rqrec.models.search.ranking import SearchOutput

ANCHORS = 10  # best found items that the estimate starts from
# Subtracted from a new item's relevance, because a mean of vectors gives too high a relevance. With 1.0 the share of
# new items in the lists of Amazon Beauty is about their share of the catalogue.
CAUTION = 1.0


@dataclass(frozen=True)
class NewItemScores:
    """Estimates the log-probability and score of new items from their relevance.

    The relevance is first lowered by `CAUTION`. The estimated log-probability is the lowered relevance plus an offset
    of the user; if the sum is above 0, the estimate is 0. The offset is the mean of log-probability minus relevance
    over the best items that the search found for the user.

    Attributes:
        relevance_weight: The weight of relevance in score = log_prob + relevance_weight * relevance. If it is 0, new
            items come after all found items.

    Example:
        The search found two items of relevance 4 and 2. Three new items have relevance 4.5, 0.5 and 9.

        >>> scores, log_probs_BK = NewItemScores(8.0), np.float32([[-3, -5]])
        >>> scores_BK = log_probs_BK + 8 * np.float32([[4, 2]])
        >>> (offset,) = scores.offsets(SearchOutput(np.int32([[0, 1]]), log_probs_BK, scores_BK, np.float32([[0]])))
        >>> float(offset)  # the mean of -3 - 4 and -5 - 2
        -7.0
        >>> log_probs_X, scores_X = scores.estimate(8 * np.float32([4.5, 0.5, 9]), offset)
        >>> log_probs_X.tolist(), scores_X.tolist()
        ([-3.5, -7.5, 0.0], [24.5, -11.5, 64.0])
    """

    relevance_weight: float

    def offsets(self, found: SearchOutput) -> FloatArray:
        """Computes each user's offset: the mean of log-probability minus relevance over the best found items.

        The offset is 0 for a user without found items. If the relevance weight is 0, the offset is the smallest
        log-probability of the found items, so that no new item comes before a found item.

        Args:
            found: The items that the search found. If it has offsets, these are returned.

        Returns:
            Offsets of shape (B,), float32.
        """
        if found.offsets_B is not None:
            return found.offsets_B
        if not self.relevance_weight:
            return self.lowest(found)
        is_found_BK = found.scores_BK > -np.inf
        is_found_BX = is_found_BK[:, :ANCHORS]
        log_probs_BX, scores_BX = found.log_probs_BK[:, :ANCHORS], found.scores_BK[:, :ANCHORS]
        if not (is_all_found := bool(is_found_BX.all())):  # seldom
            log_probs_BX, scores_BX = np.where(is_found_BX, log_probs_BX, 0), np.where(is_found_BX, scores_BX, 0)
        differences_B = (log_probs_BX - (scores_BX - log_probs_BX) / self.relevance_weight).sum(axis=1)
        counts_B = is_found_BX.shape[1] if is_all_found else is_found_BX.sum(axis=1)
        return np.asarray(differences_B / np.maximum(counts_B, 1), dtype=np.float32)

    def lowest(self, found: SearchOutput) -> FloatArray:
        """Computes the smallest log-probability of the items found for each user, or 0, shape (B,), float32.

        Args:
            found: The items that the search found. If it has these numbers, they are returned.
        """
        if found.lowest_B is not None:
            return found.lowest_B
        is_found_BK = found.scores_BK > -np.inf
        return np.asarray(np.where(is_found_BK, found.log_probs_BK, np.float32(0)).min(axis=1, initial=0))

    def estimate(self, weighted_X: FloatArray, offset: np.float32 | FloatArray) -> tuple[FloatArray, FloatArray]:
        """Estimates the log-probabilities and scores of new items.

        Args:
            weighted_X: The relevance_weight * relevance of each of X new items, float32.
            offset: The offset of the user, from `offsets`; or an array of offsets that broadcasts to `weighted_X`, for
                items of several users.

        Returns:
            The natural log-probability of each item, at most 0, and the score of each item; float32, in the shape of
            `weighted_X`.
        """
        relevance_X = weighted_X / np.float32(self.relevance_weight or 1) - np.float32(CAUTION)
        log_probs_X = np.minimum(relevance_X + offset, np.float32(0))
        return log_probs_X, log_probs_X + np.float32(self.relevance_weight) * relevance_X
