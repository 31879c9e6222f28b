"""The trie: a prefix tree of the semantic IDs of a catalogue, as flat arrays.

Each leaf is one semantic ID. Leaves are numbered in lexicographic order of their codes, so the leaves below a node are
a contiguous range. The children of a node are a contiguous range of the nodes of the next depth (CSR format). The root
has depth 0, the leaves have depth L.

Shapes: N leaves, L levels, V codes per level, M looked-up rows, F children of a node.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np
from numpy.typing import NDArray

from rqrec.models.array_types import Int32Array, IntArray

NO_LEAF = -1


@dataclass(frozen=True)
class SemanticIdTrie:
    """An immutable prefix tree of unique semantic IDs. Use `SemanticIdTrie.build` to make it.

    Each leaf is one semantic ID of L codes. The N leaves are numbered in lexicographic order of their codes.

    Attributes:
        codebook_size: V; every code is in [0, V).
        keys_N: The codes of each leaf, packed into one integer as base-V digits, int64, ascending.
        row_of_leaf_N: For each leaf, the row of its semantic ID in the array that `build` got, int32.
        child_start: One array for each depth d in 0..L-1, int32. The children of node i of depth d are the nodes
            `child_start[d][i]` to `child_start[d][i + 1] - 1` of depth d + 1.
        child_code: One array for each depth d in 0..L-1, int32: the code that leads to each node of depth d + 1.
        leaf_start: One array for each depth d in 0..L-1, int32. The leaves below node i of depth d are
            `leaf_start[d][i]` to `leaf_start[d][i + 1] - 1`. The last array is also the last array of `child_start`.

    Example:
        Three items, in the order of the table: 1-0, 0-3 and 0-1. Node 0 of depth 1 has the leaves 0 (0-1) and 1 (0-3),
        node 1 has leaf 2 (1-0).

        >>> trie = SemanticIdTrie.build(np.array([[1, 0], [0, 3], [0, 1]]), codebook_size=4)
        >>> trie.keys_N.tolist(), trie.row_of_leaf_N.tolist()
        ([1, 3, 4], [2, 1, 0])
        >>> [one.tolist() for one in trie.child_start]
        [[0, 2], [0, 2, 3]]
        >>> [one.tolist() for one in trie.child_code]
        [[0, 1], [1, 3, 0]]
        >>> [one.tolist() for one in trie.leaf_start]
        [[0, 3], [0, 2, 3]]
        >>> trie.paths_LN.tolist()
        [[0, 0, 0], [0, 0, 1]]
    """

    codebook_size: int
    keys_N: IntArray
    row_of_leaf_N: Int32Array
    child_start: tuple[Int32Array, ...]
    child_code: tuple[Int32Array, ...]
    leaf_start: tuple[Int32Array, ...]

    @classmethod
    def build(cls, codes_NL: NDArray[np.integer], *, codebook_size: int) -> "SemanticIdTrie":
        """Builds the trie of the given semantic IDs by array operations: one sort, then one pass per level.

        Args:
            codes_NL: N >= 1 different semantic IDs of L codes, one per row, integers in [0, codebook_size).
            codebook_size: V, the number of codes per level. V ** L must be below 2 ** 63.

        Raises:
            ValueError: If the shape, a code or the packed size is out of range, or two rows are equal.
        """
        _check_codes(codes_NL, codebook_size)
        keys_N = pack_codes(codes_NL, codebook_size)
        row_of_leaf_N = np.argsort(keys_N)
        keys_N = keys_N[row_of_leaf_N]
        equal = np.flatnonzero(keys_N[1:] == keys_N[:-1])
        if equal.size:
            first, second = sorted(row_of_leaf_N[equal[0] : equal[0] + 2].tolist())
            raise ValueError(
                f"semantic IDs must be unique, but rows {first} and {second} are both {codes_NL[first].tolist()}: "
                "resolve collisions before building the trie"
            )
        return cls._from_sorted(keys_N, row_of_leaf_N.astype(np.int32), codes_NL.shape[1], codebook_size)

    def with_changes(
        self,
        *,
        inserted_ML: NDArray[np.integer] | None = None,
        inserted_rows_M: NDArray[np.integer] | None = None,
        deleted_leaves: NDArray[np.integer] | None = None,
    ) -> "SemanticIdTrie":
        """Makes a new trie with leaves inserted and deleted. This trie does not change.

        Only the inserted leaves are sorted. The arrays are copied around the changes, in one pass per level.

        Args:
            inserted_ML: Semantic IDs to insert, shape (M, L); None for none. They must not be in the trie after the
                deletions.
            inserted_rows_M: The number that `row_of_leaf_N` gets for each inserted leaf, shape (M,); None for none.
            deleted_leaves: The numbers of the leaves to delete, as in this trie; None for none.

        Raises:
            ValueError: If an inserted semantic ID is out of range or taken, `inserted_rows_M` does not have one
                number for each of them, a deleted leaf does not exist, or no leaf would be left.
        """
        keys_N, rows_N = self.keys_N, self.row_of_leaf_N
        if deleted_leaves is not None and len(deleted_leaves):
            low, high = int(deleted_leaves.min()), int(deleted_leaves.max())
            if low < 0 or high >= self.num_leaves:
                raise ValueError(f"leaves to delete must lie in [0, {self.num_leaves}), got {low} to {high}")
            keys_N, rows_N = np.delete(keys_N, deleted_leaves), np.delete(rows_N, deleted_leaves)
        if inserted_ML is not None and len(inserted_ML):
            _check_codes(inserted_ML, self.codebook_size)
            if inserted_rows_M is None or len(inserted_rows_M) != len(inserted_ML):
                got = "none" if inserted_rows_M is None else len(inserted_rows_M)
                raise ValueError(f"every inserted leaf needs its row: got {len(inserted_ML)} leaves and {got} rows")
            if inserted_ML.shape[1] != self.num_levels:
                raise ValueError(f"inserted semantic IDs must have {self.num_levels} codes, got {inserted_ML.shape[1]}")
            new_M = pack_codes(inserted_ML, self.codebook_size)
            order = np.argsort(new_M)
            new_M = new_M[order]
            before_M = np.searchsorted(keys_N, new_M)
            taken = (np.append(keys_N, -1)[before_M] == new_M) | (np.diff(new_M, prepend=-1) == 0)
            if taken.any():
                codes = inserted_ML[order[np.argmax(taken)]].tolist()
                raise ValueError(f"the semantic ID {codes} is taken: give the item another collision code")
            keys_N = np.insert(keys_N, before_M, new_M)
            rows_N = np.insert(rows_N, before_M, inserted_rows_M[order])
        if not len(keys_N):
            raise ValueError("a trie needs at least one leaf: this change would delete the last one")
        return self._from_sorted(keys_N, rows_N, self.num_levels, self.codebook_size)

    @classmethod
    def _from_sorted(
        cls, keys_N: IntArray, row_of_leaf_N: Int32Array, num_levels: int, codebook_size: int
    ) -> "SemanticIdTrie":
        leaf_start = [np.array([0, len(keys_N)], dtype=np.int32)]
        child_start, child_code = [], []
        for depth in range(1, num_levels):
            prefixes_N = keys_N // codebook_size ** (num_levels - depth)
            starts = np.flatnonzero(np.diff(prefixes_N, prepend=-1)).astype(np.int32)
            child_code.append((prefixes_N[starts] % codebook_size).astype(np.int32))
            child_start.append(np.searchsorted(starts, leaf_start[-1]).astype(np.int32))
            leaf_start.append(np.append(starts, np.int32(len(keys_N))))
        child_code.append((keys_N % codebook_size).astype(np.int32))
        child_start.append(leaf_start[-1])
        return cls(codebook_size, keys_N, row_of_leaf_N, tuple(child_start), tuple(child_code), tuple(leaf_start))

    @property
    def num_leaves(self) -> int:
        """N, the number of leaves, which is the number of semantic IDs."""
        return len(self.keys_N)

    @property
    def num_levels(self) -> int:
        """L, the number of codes in a semantic ID, including the collision code at its end."""
        return len(self.child_start)

    @cached_property
    def max_children(self) -> tuple[int, ...]:
        """F for each depth 0..L-1: the largest number of children of a node at this depth."""
        return tuple(int(np.diff(start).max()) for start in self.child_start)

    @property
    def codes_NL(self) -> IntArray:
        """The semantic IDs of all leaves, in the order of the leaves, int64 of shape (N, L)."""
        return self.codes_of(np.arange(self.num_leaves))

    @property
    def leaf_of_row_N(self) -> IntArray:
        """The leaf of each row number of this trie, int64: the inverse of `row_of_leaf_N`, the row number of each leaf.

        The entry is -1 for a row number that no leaf has. The last entry is for the largest row number of a leaf.
        """
        leaf_of_row = np.full(int(self.row_of_leaf_N.max()) + 1, NO_LEAF, dtype=np.int64)
        leaf_of_row[self.row_of_leaf_N] = np.arange(self.num_leaves)
        return leaf_of_row

    @property
    def nbytes(self) -> int:
        """The memory of all arrays of the trie, in bytes."""
        # The last array of leaf_start is the last of child_start, so it counts once.
        inner = (*self.child_start, *self.child_code, *self.leaf_start[:-1], self.paths_LN)
        return self.keys_N.nbytes + self.row_of_leaf_N.nbytes + sum(array.nbytes for array in inner)

    def find(self, codes_ML: NDArray[np.integer]) -> IntArray:
        """Finds the leaves of semantic IDs.

        Args:
            codes_ML: M semantic IDs of L codes, integers of any size.

        Returns:
            The leaf of each semantic ID, int64 of shape (M,); -1 for a semantic ID that is not in the trie.
        """
        in_range_M = np.asarray(np.all((codes_ML >= 0) & (codes_ML < self.codebook_size), axis=1))
        keys_M = pack_codes(np.where(in_range_M[:, None], codes_ML, 0), self.codebook_size)
        leaf_M = np.minimum(np.searchsorted(self.keys_N, keys_M), self.num_leaves - 1)
        return np.where(in_range_M & (self.keys_N[leaf_M] == keys_M), leaf_M, NO_LEAF)

    def codes_of(self, leaves_M: IntArray) -> IntArray:
        """Returns the semantic IDs of M leaves, int64 of shape (M, L)."""
        return unpack_codes(self.keys_N[leaves_M], self.codebook_size, self.num_levels)

    def leaf_range(self, prefix: Sequence[int]) -> tuple[int, int]:
        """Finds the leaves whose semantic IDs begin with a prefix.

        Args:
            prefix: The first codes of a semantic ID, integers; an empty prefix stands for all leaves.

        Returns:
            The first leaf, and the leaf after the last one. The two are equal if no semantic ID has this prefix.
        """
        if len(prefix) > self.num_levels or not all(0 <= code < self.codebook_size for code in prefix):
            return 0, 0
        span = self.codebook_size ** (self.num_levels - len(prefix))
        low = int(pack_codes(np.asarray([prefix], dtype=np.int64).reshape(1, -1), self.codebook_size)[0]) * span
        first, last = np.searchsorted(self.keys_N, [low, low + span])
        return int(first), int(last)

    @cached_property
    def paths_LN(self) -> Int32Array:
        """The path to every leaf: `paths_LN[d, n]` is the node of depth d that is above leaf n; int32 of shape (L, N).

        The array is computed at first use.
        """
        paths = np.empty((self.num_levels, self.num_leaves), dtype=np.int32)
        for depth, start in enumerate(self.leaf_start):
            paths[depth] = np.repeat(np.arange(len(start) - 1, dtype=np.int32), np.diff(start))
        return paths


def pack_codes(codes_ML: NDArray[np.integer], codebook_size: int) -> IntArray:
    """Packs each row of codes into one integer, whose base-V digits are the codes. The integers sort like the rows.

    >>> pack_codes(np.array([[0, 3], [1, 0]]), 4).tolist()
    [3, 4]

    Args:
        codes_ML: M rows of L codes, integers in [0, V).
        codebook_size: V, the number of codes per level.

    Returns:
        One integer per row, int64 of shape (M,).
    """
    keys = np.zeros(len(codes_ML), dtype=np.int64)
    for level in range(codes_ML.shape[1]):
        keys = keys * codebook_size + codes_ML[:, level]
    return keys


def unpack_codes(keys_M: IntArray, codebook_size: int, num_levels: int) -> IntArray:
    """Unpacks the integers that `pack_codes` made into rows of codes.

    >>> unpack_codes(np.array([3, 4]), 4, 2).tolist()
    [[0, 3], [1, 0]]

    Args:
        keys_M: M integers, each of which packs L codes; int64.
        codebook_size: V, the number of codes per level.
        num_levels: L, the number of codes in an integer.

    Returns:
        Codes, int64 of shape (M, L).
    """
    return keys_M[:, None] // _digit_values(codebook_size, num_levels) % codebook_size


@cache
def _digit_values(codebook_size: int, num_levels: int) -> IntArray:
    """The value of a 1 in each of the base-V digits of a key, most significant digit first."""
    return codebook_size ** np.arange(num_levels - 1, -1, -1, dtype=np.int64)


def _check_codes(codes_NL: NDArray[np.integer], codebook_size: int) -> None:
    if codes_NL.ndim != 2 or 0 in codes_NL.shape:
        raise ValueError(f"codes_NL must have shape (N, L) with N, L >= 1, got {codes_NL.shape}")
    if codebook_size < 1 or codebook_size ** codes_NL.shape[1] >= 2**63:
        raise ValueError(f"codebook_size ** L must lie in [1, 2 ** 63), got {codebook_size} ** {codes_NL.shape[1]}")
    low, high = int(codes_NL.min()), int(codes_NL.max())
    if low < 0 or high >= codebook_size:
        raise ValueError(f"codes must lie in [0, {codebook_size}), got codes from {low} to {high}")
