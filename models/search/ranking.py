"""The result of a search as arrays, and the ranked list of items of each user. This module does not need PyTorch.

Shapes: B users, K beams or items of a list, T history items, L levels, D width.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from rqrec.models.array_types import FloatArray, Int32Array, IntArray


class SearchOutput(NamedTuple):
    """The items that were found for each of B users, best first, as NumPy arrays. Each user has K entries.

    If fewer than K items were found for a user, the last entries are empty.

    Attributes:
        leaves_BK: The leaf of each item, int32; -1 in an empty entry.
        log_probs_BK: The natural log-probability of each item, float32; -inf in an empty entry.
        scores_BK: The score of each item, float32; -inf in an empty entry.
        queries_BD: The query of each user, float32. Its dot product with an item vector at unit length is
            relevance_weight * relevance.
        strengths_BK: How strongly each item follows the user's last items, float32. The last three fields may be
            None if the search added no following items (see `models.search.history.following_items`).
        offsets_B: The offset of each user for estimates of log-probabilities, float32; see
            `models.search.new.new_item_scores.NewItemScores.offsets`.
        lowest_B: The smallest log-probability of the items that the search itself found, float32.
        prefix_nodes_BLK: The node of each beam at each depth 1..L, most probable first, int32; K is the beam width. The
            last two fields are None unless the search was asked for prefixes.
        prefix_log_probs_BLK: The natural log-probability of each beam's prefix, float32; -inf for a pruned beam.
    """

    leaves_BK: Int32Array
    log_probs_BK: FloatArray
    scores_BK: FloatArray
    queries_BD: FloatArray
    strengths_BK: FloatArray | None = None
    offsets_B: FloatArray | None = None
    lowest_B: FloatArray | None = None
    prefix_nodes_BLK: Int32Array | None = None
    prefix_log_probs_BLK: FloatArray | None = None

    def of_users(self, users: Sequence[int] | slice) -> "SearchOutput":
        """Returns the result of some users only. The argument has the numbers of these users, in [0, B)."""
        return SearchOutput._make(None if array is None else array[users] for array in self)


class Explanation(NamedTuple):
    """Why the items of a list are in it; see `models.search.explanation`.

    Attributes:
        contributions_KT: How much each of the T history items that the search reads adds to the score of each item of
            the list, oldest first, float32.
        level_log_probs_KL: The natural log-probability of each item's code at each level, given the history and the
            codes before it, float32; NaN where the score is not made of these.
    """

    contributions_KT: FloatArray
    level_log_probs_KL: FloatArray


class Ranking(NamedTuple):
    """The recommended items of one user, best first: k items, or fewer if fewer are eligible.

    Attributes:
        leaves_K: The place of each item, int64: its leaf in the trie, or a number after all leaves for an item
            that was added later.
        log_probs_K: The natural log-probability of each item, float32.
        scores_K: The score of each item, float32, by which the items are sorted.
    """

    leaves_K: IntArray
    log_probs_K: FloatArray
    scores_K: FloatArray

    def first(self, k: int) -> "Ranking":
        """Returns the k best items only."""
        if len(self.leaves_K) <= k:
            return self
        return self.select(slice(k))

    def select(self, rows: IntArray | slice) -> "Ranking":
        """Returns the items of some rows, in the order of these rows."""
        return Ranking(self.leaves_K[rows], self.log_probs_K[rows], self.scores_K[rows])

    def by_score(self) -> "Ranking":
        """Returns the items sorted by score, best first. Items of equal score keep their order."""
        return self.select(np.argsort(-self.scores_K, kind="stable"))

    @classmethod
    def joined(cls, rankings: Sequence["Ranking"]) -> "Ranking":
        """Returns the items of all rankings, in their order, with repetitions."""
        return cls(*map(np.concatenate, zip(*rankings, strict=True)))


def rankings(leaves_BK: Int32Array | IntArray, log_probs_BK: FloatArray, scores_BK: FloatArray) -> list[Ranking]:
    """Makes one ranking for each user. Entries with the score -inf, which are at the end, are left out.

    Args:
        leaves_BK: The places (item numbers) of K items for each of B users, best first, integer.
        log_probs_BK: The natural log-probability of each item.
        scores_BK: The score of each item, in descending order for each user.
    """
    found_B = (scores_BK > -np.inf).sum(axis=1)
    return [
        Ranking(leaves_K[:count].astype(np.int64), log_probs_K[:count], scores_K[:count])
        for leaves_K, log_probs_K, scores_K, count in zip(leaves_BK, log_probs_BK, scores_BK, found_B, strict=True)
    ]
