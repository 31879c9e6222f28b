"""Ranked lists of items, and the arrays of a search that they are made from. Needs no torch.

Shapes: B users, K beams or items of a list, D width.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from rqrec.models.array_types import FloatArray, Int32Array, IntArray


class SearchOutput(NamedTuple):
    """The result of a search as NumPy arrays; `models.search.beam_search.BeamSearchOutput` describes the fields."""

    leaves_BK: Int32Array
    log_probs_BK: FloatArray
    scores_BK: FloatArray
    queries_BD: FloatArray

    def of_users(self, users: Sequence[int] | slice) -> "SearchOutput":
        """Returns the result for some of the users only."""
        return SearchOutput(
            self.leaves_BK[users], self.log_probs_BK[users], self.scores_BK[users], self.queries_BD[users]
        )


class Ranking(NamedTuple):
    """A user's best items, best first: k items, or fewer if fewer are eligible.

    Attributes:
        leaves_K: The items' places, int64: leaves of the trie, or added positions after the leaves.
        log_probs_K: Natural log-probabilities of the items, float32.
        scores_K: Scores of the items, float32: log_prob + relevance_weight * relevance.
    """

    leaves_K: IntArray
    log_probs_K: FloatArray
    scores_K: FloatArray

    def first(self, k: int) -> "Ranking":
        """The ranking cut to its k best items."""
        if len(self.leaves_K) <= k:
            return self
        return Ranking(self.leaves_K[:k], self.log_probs_K[:k], self.scores_K[:k])


def rankings(leaves_BK: Int32Array | IntArray, log_probs_BK: FloatArray, scores_BK: FloatArray) -> list[Ranking]:
    """Makes each user's ranking, without the entries at the end whose score is -inf.

    Args:
        leaves_BK: Places, best first.
        log_probs_BK: Natural log-probabilities.
        scores_BK: Scores, in descending order.
    """
    found_B = (scores_BK > -np.inf).sum(axis=1)
    return [
        Ranking(leaves_K[:count].astype(np.int64), log_probs_K[:count], scores_K[:count])
        for leaves_K, log_probs_K, scores_K, count in zip(leaves_BK, log_probs_BK, scores_BK, found_B, strict=True)
    ]
