"""The transition table: which items followed each item in the training data, and how strongly.

A network remembers badly what followed an item once or twice; a sparse table does not. Here the items that followed a
user's last two items become candidates, and get a bonus on their score (docs/experiments.md, "What neighbouring
positions know"). This module does not need PyTorch.

Shapes: N items, P pairs of an item and an item that followed it, B users, Q pairs of a user and a candidate.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rqrec.models.array_types import BoolArray, FloatArray, Int32Array, IntArray
from rqrec.models.search.history.own_choices import USER_BITS

SECOND_LAST = np.float32(0.3)  # the last item but one counts this much beside the last item
WEAK = np.float32(0.01)  # a strength well below this one changes a score little


class FollowingItems(NamedTuple):
    """The items that followed the last items of users. Entry q of each array is for one pair of a user and an item.

    Attributes:
        keys_Q: The pair as one integer, user number * 2^32 + place of the item; int64, ascending.
        strengths_Q: How strongly the item follows the user's last two items, float32, above 0.
    """

    keys_Q: IntArray
    strengths_Q: FloatArray

    @classmethod
    def none(cls) -> "FollowingItems":
        """Returns an object without pairs."""
        return cls(np.empty(0, dtype=np.int64), np.empty(0, dtype=np.float32))

    def select(self, keep_Q: BoolArray) -> "FollowingItems":
        """Returns only the pairs of a user and an item where `keep_Q` is true."""
        return FollowingItems(self.keys_Q[keep_Q], self.strengths_Q[keep_Q])


@dataclass(frozen=True, eq=False)
class Transitions:
    """For each of N items, the items that followed it most strongly in the training data.

    Attributes:
        starts_N: The pairs of item n are the entries `starts_N[n]` to `starts_N[n + 1] - 1` of the other arrays; int64,
            shape (N + 1,).
        items_P: The item that followed, int32, in [0, N).
        strengths_P: The strength of each pair, float32, above 0; see `training.transitions`.

    Example:
        Item 0 was followed by the items 1 and 2, item 2 by item 1.

        >>> table = Transitions(np.array([0, 2, 2, 3]), np.array([1, 2, 1]), np.array([0.5, 0.25, 1], dtype=np.float32))
        >>> following = table.after([np.array([2, 0])])  # the last item is 0, the last but one is 2
        >>> following.keys_Q.tolist(), following.strengths_Q.round(2).tolist()
        ([1, 2], [0.8, 0.25])
    """

    starts_N: NDArray[np.int64]
    items_P: Int32Array
    strengths_P: FloatArray

    def after(self, histories: Sequence[IntArray]) -> FollowingItems:
        """Finds the items that followed the last two items of each history.

        The strength of an item is that after the last item plus `SECOND_LAST` times that after the last item but one.

        Args:
            histories: For each user, the items of the history, oldest first, int64, at least one. A number of N or
                above is an item that was added later; nothing followed it.
        """
        num_items, users = len(self.starts_N) - 1, np.arange(len(histories))
        last = np.array([history[-1] for history in histories], dtype=np.int64)
        earlier = np.array([history[-2] if len(history) > 1 else num_items for history in histories], dtype=np.int64)
        items, users = np.concatenate([last, earlier]), np.concatenate([users, users])
        weights = np.repeat(np.array([1, SECOND_LAST], dtype=np.float32), len(histories))
        is_known = items < num_items
        items, users, weights = items[is_known], users[is_known], weights[is_known]
        begins, counts = self.starts_N[items], self.starts_N[items + 1] - self.starts_N[items]
        total = int(counts.sum())
        if not total:
            return FollowingItems.none()
        pairs = np.arange(total) + np.repeat(begins - (np.cumsum(counts) - counts), counts)
        keys = (np.repeat(users, counts) << USER_BITS) | self.items_P[pairs]
        strengths = self.strengths_P[pairs] * np.repeat(weights, counts)
        order = np.argsort(keys, kind="stable")
        keys, strengths = keys[order], strengths[order]
        is_first = np.concatenate([[True], keys[1:] != keys[:-1]])
        first_Q = np.flatnonzero(is_first)
        return FollowingItems(keys[first_Q], np.add.reduceat(strengths, first_Q))

    def reordered(self, row_of_place_N: NDArray[np.integer]) -> "Transitions":
        """Makes the same table for items with other numbers.

        Args:
            row_of_place_N: For each new number of an item, its number in this table.
        """
        counts_N = np.diff(self.starts_N)[row_of_place_N]
        starts_N = np.concatenate([[0], np.cumsum(counts_N)])
        pairs_P = np.arange(starts_N[-1]) + np.repeat(self.starts_N[row_of_place_N] - starts_N[:-1], counts_N)
        place_of_row_N = np.empty(len(row_of_place_N), dtype=np.int32)
        place_of_row_N[row_of_place_N] = np.arange(len(row_of_place_N))
        return Transitions(starts_N, place_of_row_N[self.items_P[pairs_P]], self.strengths_P[pairs_P])


def transition_signal(strengths: FloatArray) -> FloatArray:
    """Returns ln(1 + strength / `WEAK`), float32: the bonus of a candidate is a learnt weight times this signal.

    >>> transition_signal(np.float32([0, 0.01, 1])).round(2).tolist()
    [0.0, 0.69, 4.62]
    """
    return np.asarray(np.log1p(strengths / WEAK), dtype=np.float32)
