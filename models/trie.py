"""The trie of a catalogue's semantic IDs, as flat arrays.

Shapes: N leaves, L levels, V codes per level, M looked-up rows, F children of a node.

Leaves stand in lexicographic order of their codes, so every node is a contiguous range of leaves, and the
children of node i at depth d are the nodes `child_start[d][i] .. child_start[d][i + 1]` of depth d + 1 (CSR).
Depth 0 is the root, depth L the leaves.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

NO_LEAF = -1
IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class SemanticIdTrie:
    """A prefix tree over unique semantic IDs. Immutable; build one with `SemanticIdTrie.build`.

    Attributes:
        codebook_size: V; every code lies in [0, V).
        keys_N: Each leaf's codes as one base-V number, ascending; the sorted leaves themselves.
        row_of_leaf_N: Row of the table given to `build` that each leaf came from.
        child_start: For depth d in 0..L-1, int64 offsets of shape (nodes at d + 1,).
        child_code: For depth d in 0..L-1, the code that leads to each node of depth d + 1.
        leaf_start: For depth d in 0..L, offsets of each node's first leaf, shape (nodes at d + 1,).
    """

    codebook_size: int
    keys_N: IntArray
    row_of_leaf_N: IntArray
    child_start: tuple[IntArray, ...]
    child_code: tuple[IntArray, ...]
    leaf_start: tuple[IntArray, ...]

    @classmethod
    def build(cls, codes_NL: NDArray[np.integer], *, codebook_size: int) -> "SemanticIdTrie":
        """Builds the trie with array operations: one sort, then one pass a level.

        Args:
            codes_NL: One semantic ID a row, integers in [0, codebook_size), shape (N, L), N >= 1; rows unique.
            codebook_size: V, with V ** L below 2 ** 63 so that an ID packs into one integer.

        Raises:
            ValueError: If the shape, a code, or the packed size is out of range, or two rows are equal.
        """
        num_levels = _checked_levels(codes_NL, codebook_size)
        keys = pack_codes(codes_NL, codebook_size)
        row_of_leaf = np.argsort(keys, kind="stable")
        keys = keys[row_of_leaf]
        equal = np.flatnonzero(keys[1:] == keys[:-1])
        if equal.size:
            first, second = row_of_leaf[equal[0]], row_of_leaf[equal[0] + 1]
            raise ValueError(
                f"semantic IDs must be unique, but rows {first} and {second} are both {codes_NL[first].tolist()}: "
                "resolve collisions before building the trie"
            )
        count = len(keys)
        leaf_start = [np.array([0, count])]
        child_start, child_code = [], []
        for depth in range(1, num_levels + 1):
            prefixes = keys // codebook_size ** (num_levels - depth)
            starts = np.flatnonzero(np.diff(prefixes, prepend=-1))
            child_code.append(prefixes[starts] % codebook_size)
            child_start.append(np.searchsorted(starts, leaf_start[-1]))
            leaf_start.append(np.append(starts, count))
        return cls(codebook_size, keys, row_of_leaf, tuple(child_start), tuple(child_code), tuple(leaf_start))

    @property
    def num_leaves(self) -> int:
        """N, the number of items."""
        return len(self.keys_N)

    @property
    def num_levels(self) -> int:
        """L, the number of codes in a semantic ID, the collision code included."""
        return len(self.child_start)

    @property
    def max_children(self) -> tuple[int, ...]:
        """F for each depth 0..L-1: the widest node's number of children."""
        return tuple(int(np.diff(start).max()) for start in self.child_start)

    @property
    def codes_NL(self) -> IntArray:
        """The leaves' codes in leaf order, int64 of shape (N, L)."""
        return self.codes_of(np.arange(self.num_leaves))

    @property
    def leaf_of_row_N(self) -> IntArray:
        """The leaf at which each row of the original table stands, int64 of shape (N,)."""
        leaf_of_row = np.empty_like(self.row_of_leaf_N)
        leaf_of_row[self.row_of_leaf_N] = np.arange(self.num_leaves)
        return leaf_of_row

    def find(self, codes_ML: NDArray[np.integer]) -> IntArray:
        """Finds the leaves of semantic IDs.

        Args:
            codes_ML: Integer codes of shape (M, L); codes outside [0, V) are simply not found.

        Returns:
            Leaf positions of shape (M,); -1 where no leaf bears the codes.
        """
        in_range_M = np.asarray(np.all((codes_ML >= 0) & (codes_ML < self.codebook_size), axis=1))
        keys_M = pack_codes(np.where(in_range_M[:, None], codes_ML, 0), self.codebook_size)
        leaf_M = np.minimum(np.searchsorted(self.keys_N, keys_M), self.num_leaves - 1)
        return np.where(in_range_M & (self.keys_N[leaf_M] == keys_M), leaf_M, NO_LEAF)

    def codes_of(self, leaves_M: IntArray) -> IntArray:
        """The codes of leaves, int64 of shape (M, L)."""
        return unpack_codes(self.keys_N[leaves_M], self.codebook_size, self.num_levels)

    def leaf_range(self, prefix: Sequence[int]) -> tuple[int, int]:
        """The half-open range of leaves whose semantic IDs begin with `prefix` (empty range if none does)."""
        span = self.codebook_size ** (self.num_levels - len(prefix))
        low = int(pack_codes(np.asarray([prefix], dtype=np.int64).reshape(1, -1), self.codebook_size)[0]) * span
        first, last = np.searchsorted(self.keys_N, [low, low + span])
        return int(first), int(last)

    def paths_NL(self) -> IntArray:
        """Each leaf's node at depths 0..L-1, int64 of shape (N, L); column 0 is the root, node 0."""
        leaves = np.arange(self.num_leaves)
        columns = [np.searchsorted(start, leaves, side="right") - 1 for start in self.leaf_start[:-1]]
        return np.stack(columns, axis=1)


def pack_codes(codes_ML: NDArray[np.integer], codebook_size: int) -> IntArray:
    """Packs rows of codes into base-V integers whose order is the rows' lexicographic order."""
    keys = np.zeros(len(codes_ML), dtype=np.int64)
    for level in range(codes_ML.shape[1]):
        keys = keys * codebook_size + codes_ML[:, level]
    return keys


def unpack_codes(keys_M: IntArray, codebook_size: int, num_levels: int) -> IntArray:
    """The inverse of `pack_codes`: codes of shape (M, num_levels)."""
    powers = codebook_size ** np.arange(num_levels - 1, -1, -1, dtype=np.int64)
    return keys_M[:, None] // powers % codebook_size


def _checked_levels(codes_NL: NDArray[np.integer], codebook_size: int) -> int:
    if codes_NL.ndim != 2 or 0 in codes_NL.shape:
        raise ValueError(f"codes_NL must have shape (N, L) with N, L >= 1, got {codes_NL.shape}")
    num_levels = int(codes_NL.shape[1])
    if codebook_size < 1 or codebook_size**num_levels >= 2**63:
        raise ValueError(f"codebook_size ** L must lie in [1, 2 ** 63), got {codebook_size} ** {num_levels}")
    low, high = int(codes_NL.min()), int(codes_NL.max())
    if low < 0 or high >= codebook_size:
        raise ValueError(f"codes must lie in [0, {codebook_size}), got codes from {low} to {high}")
    return num_levels
