"""What a search finds, and ranked lists of leaves. Needs no torch.

Shapes: B users, K beams or places of a list, D width.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.trie import Int32Array, IntArray

FloatArray = NDArray[np.float32]


class SearchOutput(NamedTuple):
    """What `models.beam_search.BeamSearchOutput` holds, as arrays."""

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

    @classmethod
    def joined(cls, one: "Ranking", other: "Ranking") -> "Ranking":
        """One after the other, not sorted."""
        return cls(
            np.concatenate([one.leaves_K, other.leaves_K]),
            np.concatenate([one.log_probs_K, other.log_probs_K]),
            np.concatenate([one.scores_K, other.scores_K]),
        )

    def best(self, k: int) -> "Ranking":
        """At most k of them by score, best first, without those of score -inf; of equals the first comes first."""
        possible = np.flatnonzero(self.scores_K > -np.inf)
        order = possible[np.argsort(-self.scores_K[possible], kind="stable")[:k]]
        return Ranking(self.leaves_K[order].astype(np.int64), self.log_probs_K[order], self.scores_K[order])

    def after(self, count: int) -> "Ranking":
        """All but the first of them."""
        return Ranking(self.leaves_K[count:], self.log_probs_K[count:], self.scores_K[count:])

    def first(self, k: int) -> "Ranking":
        """The k best of them."""
        return Ranking(self.leaves_K[:k], self.log_probs_K[:k], self.scores_K[:k])
