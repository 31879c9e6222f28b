"""What a search finds, and ranked lists of leaves. Needs no torch.

Shapes: B users, K beams or places of a list, D width.
"""

from typing import NamedTuple

import numpy as np

from rqrec.models.array_types import FloatArray, Int32Array, IntArray


class SearchOutput(NamedTuple):
    """What `models.search.beam_search.BeamSearchOutput` holds, as arrays."""

    leaves_BK: Int32Array
    log_probs_BK: FloatArray
    scores_BK: FloatArray
    queries_BD: FloatArray


class Ranking(NamedTuple):
    """A user's best leaves, best first: at most k, fewer where fewer items are eligible.

    Attributes:
        leaves_K: Leaf positions, int64.
        log_probs_K: Their natural log-probabilities.
        scores_K: What they are ranked by.
    """

    leaves_K: IntArray
    log_probs_K: FloatArray
    scores_K: FloatArray

    def first(self, k: int) -> "Ranking":
        """The k best of them."""
        if len(self.leaves_K) <= k:
            return self
        return Ranking(self.leaves_K[:k], self.log_probs_K[:k], self.scores_K[:k])


def rankings(leaves_BK: Int32Array | IntArray, log_probs_BK: FloatArray, scores_BK: FloatArray) -> list[Ranking]:
    """Each user's list, without the places at its end whose score is -inf."""
    found_B = (scores_BK > -np.inf).sum(axis=1)
    return [
        Ranking(leaves_K[:count].astype(np.int64), log_probs_K[:count], scores_K[:count])
        for leaves_K, log_probs_K, scores_K, count in zip(leaves_BK, log_probs_BK, scores_BK, found_B, strict=True)
    ]
