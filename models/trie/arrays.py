"""The trie as the search reads it: every array may be read F entries wide from any node on. Needs no torch.

Shapes: L levels, V codes per level, F children of the widest node at a depth.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from rqrec.models.trie.trie import SemanticIdTrie

Scalar = TypeVar("Scalar", bound=np.generic)


class TrieArrays(NamedTuple):
    """One array for each depth 0..L-1.

    A beam without hope may stand at any entry that was read; so all but the last have a margin after the nodes' own
    entries, F wide at the depth above.

    Attributes:
        first_child: Each node's first child, int32.
        num_children: How many children each node has, int32; 1 in the margin.
        child_code: The code that leads to each node of the next depth, int32.
        slot_penalties: Row c is 0 in its first c columns and -inf in the others, float32, shape (F + 1, F): added to
            the F logits read for a node of c children. A row's copy is cheaper than a comparison an entry.
    """

    first_child: tuple[NDArray[np.int32], ...]
    num_children: tuple[NDArray[np.int32], ...]
    child_code: tuple[NDArray[np.int32], ...]
    slot_penalties: tuple[NDArray[np.float32], ...]

    @classmethod
    def from_trie(cls, trie: SemanticIdTrie) -> "TrieArrays":
        """Lays the arrays of a trie out for reading."""
        widths = trie.max_children
        above = (0, *widths[:-1])
        return cls(
            tuple(with_margin(start[:-1], width, 0) for start, width in zip(trie.child_start, above, strict=True)),
            tuple(with_margin(np.diff(start), width, 1) for start, width in zip(trie.child_start, above, strict=True)),
            tuple(with_margin(codes, width, 0) for codes, width in zip(trie.child_code, widths, strict=True)),
            tuple(_slot_penalties(width) for width in widths),
        )

    def by_input_name(self) -> dict[str, NDArray[Any]]:
        """The arrays by the names of the search graph's inputs, in their order."""
        return {
            name: array
            for field, arrays in zip(self._fields, self, strict=True)
            for name, array in by_depth(field, arrays).items()
        }


def by_depth(name: str, arrays: Sequence[NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Arrays by the names that the search graph gives its inputs, such as `name_0`."""
    return {f"{name}_{depth}": array for depth, array in enumerate(arrays)}


def with_margin(array: NDArray[Scalar], width: int, value: float) -> NDArray[Scalar]:
    """The array with `width` values more, so that a read that begins within it and is that wide stays inside."""
    return np.concatenate([array, np.full(width, value, dtype=array.dtype)])


def _slot_penalties(width: int) -> NDArray[np.float32]:
    is_child = np.arange(width) < np.arange(width + 1)[:, None]
    return np.where(is_child, 0, -np.inf).astype(np.float32)
