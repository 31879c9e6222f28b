"""Writes and maps the transitions of a large catalogue: three arrays in the form in which the search reads them.

Shapes: N leaves, P pairs of an item and an item that followed it.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rqrec.models.array_file import write_array
from rqrec.models.bundle.layout import FOLLOWING
from rqrec.models.bundle.mapped.mapped_file import map_file
from rqrec.models.bundle.tables import check_numbers
from rqrec.models.bundle.transition_table import LARGEST_STRENGTH
from rqrec.models.search.history.transitions import KEPT, TransitionInputs, Transitions
from rqrec.models.trie.trie import NO_LEAF

CHECKED_AT_ONCE = 1 << 22  # pairs


def write_mapped_transitions(transitions: Transitions, folder: Path) -> None:
    """Writes the table into a bundle's folder.

    Args:
        transitions: The items that followed the item of each leaf.
        folder: The bundle's folder.

    Raises:
        ValueError: If the table has so many pairs that the search cannot number them.
    """
    if (pairs := len(transitions.items_P)) >= np.iinfo(np.int32).max:
        raise ValueError(f"expected fewer than 2**31 pairs of following items, got {pairs}: keep fewer for each item")
    for name, array in zip(FOLLOWING, transitions.inputs, strict=True):
        write_array(folder / name, array)


def read_mapped_transitions(folder: Path, *, rows: int) -> Transitions:
    """Maps the table that `write_mapped_transitions` wrote: the items that followed the item of each leaf.

    It checks the number of pairs of each item. `check_transitions` checks the pairs.

    Args:
        folder: The bundle's folder.
        rows: N, the expected number of items.

    Raises:
        ValueError: If a type or a length is wrong.
    """
    inputs = TransitionInputs(*(map_file(folder, name) for name in FOLLOWING))
    kinds = [array.dtype for array in inputs]
    if kinds != [np.int32, np.int32, np.float32] or any(array.ndim != 1 for array in inputs):
        raise ValueError(f"expected two arrays of int32 and one of float32, got {kinds}")
    num_pairs = len(inputs.items) - 1
    if len(inputs.starts) != rows + 2 or len(inputs.strengths) not in (num_pairs + 1, 2 * num_pairs + 2):
        raise ValueError(f"expected {rows + 2} starts and a strength or two for each pair, got {[*map(len, inputs)]}")
    counts = np.diff(inputs.starts)
    if inputs.starts[0] != 0 or inputs.starts[-1] != num_pairs or counts[-1] or counts.min() < 0 or counts.max() > KEPT:
        raise ValueError(f"every item must have 0 to {KEPT} following items, and the last row none")
    if inputs.items[-1] != NO_LEAF or inputs.strengths[num_pairs] or inputs.strengths[-1]:
        raise ValueError(f"the pair of an empty entry must have the item {NO_LEAF} and the strength 0")
    return Transitions.from_inputs(inputs)


def check_transitions(transitions: Transitions) -> None:
    """Checks every pair of a table. It reads the whole table.

    Args:
        transitions: The table, from `read_mapped_transitions`.

    Raises:
        ValueError: If a value is out of range.
    """
    items_P, rows = transitions.items_P, len(transitions.starts_N) - 1
    for begin in range(0, len(items_P), CHECKED_AT_ONCE):
        items = items_P[begin : begin + CHECKED_AT_ONCE]
        if items.min() < 0 or items.max() >= rows:
            raise ValueError(f"following items must be in [0, {rows}), got {items.min()} to {items.max()}")
    _check_strengths(transitions.strengths_P, above=True)
    if transitions.session_strengths_P is not None:
        _check_strengths(transitions.session_strengths_P, above=False)


def _check_strengths(strengths_P: NDArray[np.float32], *, above: bool) -> None:
    """Checks that strengths are not negative and not too large, and not 0 if they must be above it."""
    check_numbers(strengths_P, LARGEST_STRENGTH)
    for begin in range(0, len(strengths_P), CHECKED_AT_ONCE):
        least = strengths_P[begin : begin + CHECKED_AT_ONCE].min()
        if least < 0 or (above and least == 0):
            raise ValueError(f"strengths must be {'above' if above else 'at least'} 0, got {least:g}")
