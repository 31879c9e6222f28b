"""The transition table: which items followed each item in the training data, and how strongly.

A network remembers badly what followed an item once or twice; a sparse table does not. Here the items that followed a
user's last two items become candidates, and get a bonus on their score (docs/experiments.md, "What neighbouring
positions know"). This module does not need PyTorch.

Shapes: N items, P pairs of an item and an item that followed it, T history items, X following items.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rqrec.models.array_types import FloatArray, Int32Array, IntArray

SECOND_LAST = np.float32(0.3)  # the last item but one counts this much beside the last item
WEAK = np.float32(0.01)  # a strength well below this one changes a score little


@dataclass(frozen=True, eq=False)
class Transitions:
    """For each of N items, the items that followed it most strongly in the training data.

    Attributes:
        starts_N: The pairs of item n are the entries `starts_N[n]` to `starts_N[n + 1] - 1` of the other arrays; int64,
            shape (N + 1,).
        items_P: The item that followed, int32, in [0, N).
        strengths_P: The strength of each pair, float32, above 0; see `training.history.transitions`.

    Example:
        Item 0 was followed by the items 1 and 2, item 2 by item 1.

        >>> table = Transitions(np.array([0, 2, 2, 3]), np.array([1, 2, 1]), np.array([0.5, 0.25, 1], dtype=np.float32))
        >>> items_X, strengths_N = table.after(np.array([2, 0]))  # the last item is 0, the last but one is 2
        >>> items_X.tolist(), strengths_N.astype(float).round(2).tolist()
        ([1, 2], [0.0, 0.8, 0.25])
    """

    starts_N: NDArray[np.int64]
    items_P: Int32Array
    strengths_P: FloatArray

    def after(self, history_T: IntArray) -> tuple[Int32Array, FloatArray]:
        """Finds the items that followed the last two items of a history.

        The strength of an item is that after the last item plus `SECOND_LAST` times that after the last item but one.

        Args:
            history_T: The items of the history, oldest first, int64, at least one. A number of N or above is an item
                that a live write added or moved after the trie was built; it has no pairs here.

        Returns:
            The items that followed, distinct, and the strength of every item, 0 for an item that did not follow;
            float32, shape (N,).
        """
        # A dense array is faster than sorting: it is not filled, so it costs little even for millions of items.
        strengths_N = np.zeros(len(self.starts_N) - 1, dtype=np.float32)
        items_X, strengths_X = self._after_one(int(history_T[-1]))
        strengths_N[items_X] = strengths_X
        if len(history_T) > 1:
            earlier_X, strengths_X = self._after_one(int(history_T[-2]))
            items_X = np.concatenate([items_X, earlier_X[strengths_N[earlier_X] == 0]])
            strengths_N[earlier_X] += SECOND_LAST * strengths_X
        return items_X, strengths_N

    def _after_one(self, item: int) -> tuple[Int32Array, FloatArray]:
        if item >= len(self.starts_N) - 1:
            return self.items_P[:0], self.strengths_P[:0]
        pairs = slice(self.starts_N[item], self.starts_N[item + 1])
        return self.items_P[pairs], self.strengths_P[pairs]

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

    >>> transition_signal(np.float32([0, 0.01, 1])).astype(float).round(2).tolist()
    [0.0, 0.69, 4.62]
    """
    return np.asarray(np.log1p(strengths / WEAK), dtype=np.float32)
