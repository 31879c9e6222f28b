"""The trie's arrays with margins, so that the search reads F children of any node without a bounds check.

The search reads F entries for every node, also for a node with fewer children. Needs no torch.

Shapes: L levels, V codes per level, F children of the widest node at a depth.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from rqrec.models.trie.trie import SemanticIdTrie

Scalar = TypeVar("Scalar", bound=np.generic)


class TrieArrays(NamedTuple):
    """The arrays that the search reads, one for each depth 0..L-1.

    A pruned beam (score -inf) may point at any entry that was read. So `first_child` and `num_children` have a margin
    of F entries of the depth above, and `child_code` has one of F entries of its own depth.

    Attributes:
        first_child: Each node's first child, int32; 0 in the margin.
        num_children: Each node's number of children, int32; 1 in the margin.
        child_code: The code that leads to each node of the next depth, int32; 0 in the margin.
        slot_penalties: Added to the F logits that are read for a node, float32, shape (F + 1, F). Row c is for a node
            with c children: 0 in its first c columns, -inf in the others. Copying a row is cheaper than F comparisons.

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
        """Makes the arrays of a trie."""
        widths = trie.max_children
        above = (0, *widths[:-1])
        return cls(
            tuple(with_margin(start[:-1], width, 0) for start, width in zip(trie.child_start, above, strict=True)),
            tuple(with_margin(np.diff(start), width, 1) for start, width in zip(trie.child_start, above, strict=True)),
            tuple(with_margin(codes, width, 0) for codes, width in zip(trie.child_code, widths, strict=True)),
            tuple(_slot_penalties(width) for width in widths),
        )

    def by_input_name(self) -> dict[str, NDArray[Any]]:
        """The arrays by the names of the search graph's inputs, in the order of the inputs."""
        return {
            name: array
            for field, arrays in zip(self._fields, self, strict=True)
            for name, array in by_depth(field, arrays).items()
        }


def by_depth(name: str, arrays: Sequence[NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Names one array per depth as the search graph names its inputs: `name_0`, `name_1` and so on.

    Args:
        name: The name without the depth.
        arrays: One array per depth.
    """
    return {f"{name}_{depth}": array for depth, array in enumerate(arrays)}


def with_margin(array: NDArray[Scalar], width: int, value: float) -> NDArray[Scalar]:
    """Appends a margin to an array, so that a read of `width` entries from any entry of the array stays inside.

    Args:
        array: An array of one axis.
        width: Number of entries in the margin.
        value: The value of these entries.

    Returns:
        A new array of the same dtype, `width` entries longer.
    """
    return np.concatenate([array, np.full(width, value, dtype=array.dtype)])


def _slot_penalties(width: int) -> NDArray[np.float32]:
    is_child = np.arange(width) < np.arange(width + 1)[:, None]
    return np.where(is_child, 0, -np.inf).astype(np.float32)
