"""The transition table: which items followed each item in the training data, and how strongly.

A network remembers badly what followed an item once or twice; a sparse table does not. Here the items that followed a
user's last items become candidates, and get a bonus on their score (see `models.search.history.following_items`).
This module does not need PyTorch.

Shapes: N items, P pairs of an item and an item that followed it.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rqrec.models.array_types import FloatArray, Int32Array
from rqrec.models.trie.trie import NO_LEAF

KEPT = 16  # the largest number of items that followed an item
RECENT = 4  # last items that are read: what followed the last one counts 1, the last but one 1/2, and so on
SESSION_GAP_S = 1800  # a longer time between two choices of a user begins another session
WEAK = 0.1  # a strength well below this one changes a score little


class TransitionInputs(NamedTuple):
    """A table of transitions as the search reads it: with one more row and one more pair at the end.

    The row is that of no item, which has no pairs. The pair is that of an empty entry.

    Attributes:
        starts: `Transitions.starts_N`, and the end once more; int32, shape (N + 2,).
        items: `Transitions.items_P`, and -1; int32, shape (P + 1,).
        strengths: `Transitions.strengths_P`, and 0; then the strengths in sessions and 0, if there are any; float32.
    """

    starts: Int32Array
    items: Int32Array
    strengths: FloatArray


@dataclass(frozen=True, eq=False)
class Transitions:
    """For each of N items, the items that followed it most strongly in the training data.

    Attributes:
        starts_N: The pairs of item n are the entries `starts_N[n]` to `starts_N[n + 1] - 1` of the other arrays; int64
            or int32, shape (N + 1,).
        items_P: The item that followed, int32, in [0, N). An item has at most `KEPT`.
        strengths_P: The strength of each pair, float32, above 0; see `training.history.transitions`.
        session_strengths_P: The strength of each pair among the pairs of one session alone, float32, at least 0. None
            if the training data has no times.
        mapped: The same table as the search reads it, if a file holds it in this form; None to make it when needed.
    """

    starts_N: NDArray[np.integer]
    items_P: Int32Array
    strengths_P: FloatArray
    session_strengths_P: FloatArray | None = None
    mapped: TransitionInputs | None = None

    @classmethod
    def from_inputs(cls, inputs: TransitionInputs) -> "Transitions":
        """Makes the table whose `inputs` are given, without a copy."""
        num_pairs = len(inputs.items) - 1
        in_session_P = inputs.strengths[num_pairs + 1 : -1] if len(inputs.strengths) > num_pairs + 1 else None
        return cls(inputs.starts[:-1], inputs.items[:-1], inputs.strengths[:num_pairs], in_session_P, inputs)

    @property
    def inputs(self) -> TransitionInputs:
        """The table as the search reads it."""
        if self.mapped is not None:
            return self.mapped
        kinds = [one_P for one_P in (self.strengths_P, self.session_strengths_P) if one_P is not None]
        return TransitionInputs(
            np.append(self.starts_N, self.starts_N[-1]).astype(np.int32),
            np.append(self.items_P, np.int32(NO_LEAF)).astype(np.int32),
            np.concatenate([np.append(one_P, np.float32(0)) for one_P in kinds]),
        )

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
        in_session_P = None if self.session_strengths_P is None else self.session_strengths_P[pairs_P]
        return Transitions(starts_N, place_of_row_N[self.items_P[pairs_P]], self.strengths_P[pairs_P], in_session_P)


@dataclass(frozen=True, eq=False)
class Following:
    """The items that followed each item, and the weight of their bonus.

    Attributes:
        transitions: The items that followed the item of each leaf.
        weight: The bonus of a following item is this weight times `transition_signal`.

    Example:
        Item 0 was followed by the items 1 and 2, item 2 by item 1.

        >>> table = Transitions(np.array([0, 2, 2, 3]), np.array([1, 2, 1]), np.array([0.5, 0.25, 1], dtype=np.float32))
        >>> arrays = Following(table, 1.5).by_input_name()
        >>> arrays["following_starts"].tolist(), arrays["following_items"].tolist()  # 3: no item, -1: no pair
        ([0, 2, 2, 3, 3], [1, 2, 1, -1])
    """

    transitions: Transitions
    weight: float

    @classmethod
    def none(cls, num_items: int) -> "Following":
        """Makes an empty table: no item followed any other.

        Args:
            num_items: N, the number of items.
        """
        starts_N = np.zeros(num_items + 1, dtype=np.int64)
        return cls(Transitions(starts_N, np.empty(0, dtype=np.int32), np.empty(0, dtype=np.float32)), 0.0)

    def by_input_name(self) -> dict[str, NDArray[Any]]:
        """Returns the table as inputs of the search's ONNX graph, by input name, in the graph's order."""
        named = {f"following_{name}": array for name, array in self.transitions.inputs._asdict().items()}
        return {**named, "following_weight": np.array([self.weight], dtype=np.float32)}


def is_in_session(last_time: float | None, request_time: float) -> bool:
    """Returns whether a request belongs to the session of the user's last choice; False if its time is not known.

    Args:
        last_time: When the user made the last choice, in seconds since 1970; None if this is not known.
        request_time: When the request is made, in seconds since 1970.
    """
    return last_time is not None and request_time - last_time <= SESSION_GAP_S


def transition_signal(strengths: FloatArray) -> FloatArray:
    """Returns ln(1 + strength / `WEAK`), float32: the bonus of a candidate is a learnt weight times this signal.

    >>> transition_signal(np.float32([0, 0.1, 1])).astype(float).round(2).tolist()
    [0.0, 0.69, 2.4]
    """
    return np.asarray(np.log1p(strengths / np.float32(WEAK)), dtype=np.float32)
