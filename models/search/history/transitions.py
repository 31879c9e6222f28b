"""The transition table: which items followed each item in the training data, and how strongly.

A network remembers badly what followed an item once or twice; a sparse table does not. Here the items that followed a
user's last two items become candidates, and get a bonus on their score (docs/experiments.md, "What neighbouring
positions know"). This module does not need PyTorch.

Shapes: N items, P pairs of an item and an item that followed it, B users, X following items
of a user.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rqrec.models.array_types import FloatArray, Int32Array, IntArray
from rqrec.models.trie.trie import NO_LEAF

SECOND_LAST = np.float32(0.3)  # the last item but one counts this much beside the last item
WEIGHTS_21 = np.array([[1], [SECOND_LAST]], dtype=np.float32)
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
        >>> items_BX, strengths_BX = table.after([np.array([2, 0])])  # the last item is 0, the last but one is 2
        >>> items_BX.tolist(), strengths_BX.astype(float).round(2).tolist()
        ([[1, 2, 1, -1]], [[0.5, 0.25, 0.3, 0.0]])
    """

    starts_N: NDArray[np.int64]
    items_P: Int32Array
    strengths_P: FloatArray

    def after(self, histories: Sequence[IntArray]) -> tuple[IntArray, FloatArray]:
        """Finds the items that followed the last two items of each history.

        Args:
            histories: For each user, the items of the history, oldest first, int64, at least one. A number of N or
                above is an item that a live write added or moved after the trie was built; it has no pairs here.

        Returns:
            The items, int64, -1 in an empty entry; and their strengths, float32, 0 in an empty entry. An item that
            followed both has two entries; its strength is their sum. Strengths after the last item but one are
            multiplied by `SECOND_LAST`.
        """
        num_items = len(self.starts_N) - 1
        last = [(one[-1], one[-2] if len(one) > 1 else num_items) for one in histories]
        rows_B2 = np.minimum(np.array(last, dtype=np.int64), num_items)
        begins_B2, ends_B2 = self.starts_N[rows_B2], self.starts_N[np.minimum(rows_B2 + 1, num_items)]
        pairs_B2X = begins_B2[:, :, None] + np.arange(int((ends_B2 - begins_B2).max()))
        if not pairs_B2X.size:
            return np.empty((len(histories), 0), dtype=np.int64), np.empty((len(histories), 0), dtype=np.float32)
        is_pair_B2X = pairs_B2X < ends_B2[:, :, None]
        pairs_B2X = np.minimum(pairs_B2X, len(self.items_P) - 1)
        items_B2X = np.where(is_pair_B2X, self.items_P[pairs_B2X], NO_LEAF).astype(np.int64)
        strengths_B2X = np.where(is_pair_B2X, self.strengths_P[pairs_B2X], np.float32(0)) * WEIGHTS_21
        return items_B2X.reshape(len(histories), -1), strengths_B2X.reshape(len(histories), -1)

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
