"""The arrays of the trie in the form that the search reads: each array ends with a margin of extra entries.

The search reads F entries for the children of every node, also of a node with fewer children. The margin makes this
safe without a bounds check. This module does not need PyTorch.

Shapes: L levels, V codes per level, F children of the widest node at a depth.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from rqrec.models.trie.trie import SemanticIdTrie

Scalar = TypeVar("Scalar", bound=np.generic)


class TrieArrays(NamedTuple):
    """The arrays of a trie in the form that the search reads. Each field has one array for each depth 0..L-1.

    The search reads F entries for the children of each node; F is the largest number of children at the node's depth. A
    pruned beam (score -inf) may point at any entry that was read. So each array but `slot_penalties` ends with a margin
    of F extra entries. `first_child` and `num_children` of depth d are read at the children of nodes of depth d - 1. So
    their margin has the F of depth d - 1, and at depth 0 they have no margin.

    Attributes:
        first_child: The number of each node's first child at the next depth, int32; 0 in the margin.
        num_children: The number of children of each node, int32; 1 in the margin.
        child_code: The code that leads to each node of the next depth, int32; 0 in the margin.
        slot_penalties: The numbers to add to the F logits that are read for a node, float32, shape (F + 1, F). Row c is
            for nodes with c children: it is 0 in the first c columns and -inf in the other columns.

    Example:
        Three items. The root has the children 0 (two leaves) and 1 (one leaf), so F is 2 at both depths.

        >>> trie = SemanticIdTrie.build(np.array([[0, 1], [0, 3], [1, 0]]), codebook_size=4)
        >>> arrays = TrieArrays.from_trie(trie)
        >>> [one.tolist() for one in arrays.first_child]
        [[0], [0, 2, 0, 0]]
        >>> [one.tolist() for one in arrays.num_children]
        [[2], [2, 1, 1, 1]]
        >>> [one.tolist() for one in arrays.child_code]
        [[0, 1, 0, 0], [1, 3, 0, 0, 0]]
        >>> arrays.slot_penalties[1].tolist()
        [[-inf, -inf], [0.0, -inf], [0.0, 0.0]]
    """

    first_child: tuple[NDArray[np.int32], ...]
    num_children: tuple[NDArray[np.int32], ...]
    child_code: tuple[NDArray[np.int32], ...]
    slot_penalties: tuple[NDArray[np.float32], ...]

    @classmethod
    def from_trie(cls, trie: SemanticIdTrie) -> "TrieArrays":
        """Copies the arrays of a trie and appends the margins, the extra entries at the end of each array."""
        widths = trie.max_children
        above = (0, *widths[:-1])
        return cls(
            tuple(with_margin(start[:-1], width, 0) for start, width in zip(trie.child_start, above, strict=True)),
            tuple(with_margin(np.diff(start), width, 1) for start, width in zip(trie.child_start, above, strict=True)),
            tuple(with_margin(codes, width, 0) for codes, width in zip(trie.child_code, widths, strict=True)),
            tuple(_slot_penalties(width) for width in widths),
        )

    def by_input_name(self) -> dict[str, NDArray[Any]]:
        """Returns the arrays by the input names of the search's ONNX graph, in the order of the graph's inputs.

        A name consists of a field and a depth, such as `first_child_0`.
        """
        return {
            name: array
            for field, arrays in zip(self._fields, self, strict=True)
            for name, array in by_depth(field, arrays).items()
        }


def by_depth(name: str, arrays: Sequence[NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Returns the arrays by the input names of the search's ONNX graph, such as "first_child_0" and "first_child_1".

    Args:
        name: The name without the depth, such as "first_child".
        arrays: One array for each depth.
    """
    return {f"{name}_{depth}": array for depth, array in enumerate(arrays)}


def with_margin(array: NDArray[Scalar], width: int, value: float) -> NDArray[Scalar]:
    """Appends a margin of `width` entries, so that `width` entries can be read from any entry of the given array on.

    Args:
        array: An array of one axis.
        width: The number of entries to append.
        value: The value of the appended entries.

    Returns:
        A new array of the same dtype, `width` entries longer.
    """
    return np.concatenate([array, np.full(width, value, dtype=array.dtype)])


def _slot_penalties(width: int) -> NDArray[np.float32]:
    is_child = np.arange(width) < np.arange(width + 1)[:, None]
    return np.where(is_child, 0, -np.inf).astype(np.float32)
