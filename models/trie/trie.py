"""The trie of a catalogue's semantic IDs, as flat arrays.

Leaves are in lexicographic order of their codes, so every node is a contiguous range of leaves. The children of node i
at depth d are the nodes `child_start[d][i] .. child_start[d][i + 1]` of depth d + 1 (CSR). Depth 0 is the root, depth
L the leaves.

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
    """An immutable prefix tree over unique semantic IDs. `SemanticIdTrie.build` makes one.

    Attributes:
        codebook_size: V; every code is in [0, V).
        keys_N: The codes of each leaf as one base-V number, int64, ascending.
        row_of_leaf_N: The row of each leaf in the table that was given to `build`, int32.
        child_start: For depth d in 0..L-1, the first child of each node and the end of the last one's children, int32,
            shape (nodes at depth d, plus 1).
        child_code: For depth d in 0..L-1, the code that leads to each node of depth d + 1, int32.
        leaf_start: For depth d in 0..L-1, the first leaf of each node and N, int32, shape (nodes at depth d, plus 1).
            The last array is also the last of `child_start`, because the children of its nodes are the leaves.

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
        """Builds the trie by array operations: one sort, then one pass per level.

        Args:
            codes_NL: One semantic ID per row, integers in [0, codebook_size), shape (N, L), N >= 1; rows are unique.
            codebook_size: V. V ** L must be below 2 ** 63, so that an ID packs into one integer.

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
            inserted_ML: Codes of new leaves, shape (M, L), which are not in the trie after the deletions.
            inserted_rows_M: The row of each new leaf, for `row_of_leaf_N`, shape (M,).
            deleted_leaves: Leaves of this trie.

        Raises:
            ValueError: If an inserted semantic ID is out of range or taken, rows and codes do not match, a deleted
                leaf does not exist, or no leaf would be left.
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
        """N, the number of items."""
        return len(self.keys_N)

    @property
    def num_levels(self) -> int:
        """L, the number of codes in a semantic ID, including the collision code."""
        return len(self.child_start)

    @cached_property
    def max_children(self) -> tuple[int, ...]:
        """F for each depth 0..L-1: the number of children of the widest node."""
        return tuple(int(np.diff(start).max()) for start in self.child_start)

    @property
    def codes_NL(self) -> IntArray:
        """The codes of all leaves in leaf order, int64 of shape (N, L)."""
        return self.codes_of(np.arange(self.num_leaves))

    @property
    def leaf_of_row_N(self) -> IntArray:
        """The leaf of each row of the table that was given to `build`, int64; -1 for a row whose leaf was deleted."""
        leaf_of_row = np.full(int(self.row_of_leaf_N.max()) + 1, NO_LEAF, dtype=np.int64)
        leaf_of_row[self.row_of_leaf_N] = np.arange(self.num_leaves)
        return leaf_of_row

    @property
    def nbytes(self) -> int:
        """Memory of all arrays, in bytes."""
        # The last array of leaf_start is the last of child_start, so it counts once.
        inner = (*self.child_start, *self.child_code, *self.leaf_start[:-1], self.paths_LN)
        return self.keys_N.nbytes + self.row_of_leaf_N.nbytes + sum(array.nbytes for array in inner)

    def find(self, codes_ML: NDArray[np.integer]) -> IntArray:
        """Finds the leaves of semantic IDs.

        Args:
            codes_ML: Integer codes of shape (M, L). A code outside [0, V) is allowed and found nowhere.

        Returns:
            Leaves, int64 of shape (M,); -1 where no leaf has these codes.
        """
        in_range_M = np.asarray(np.all((codes_ML >= 0) & (codes_ML < self.codebook_size), axis=1))
        keys_M = pack_codes(np.where(in_range_M[:, None], codes_ML, 0), self.codebook_size)
        leaf_M = np.minimum(np.searchsorted(self.keys_N, keys_M), self.num_leaves - 1)
        return np.where(in_range_M & (self.keys_N[leaf_M] == keys_M), leaf_M, NO_LEAF)

    def codes_of(self, leaves_M: IntArray) -> IntArray:
        """The codes of leaves, int64 of shape (M, L)."""
        return unpack_codes(self.keys_N[leaves_M], self.codebook_size, self.num_levels)

    def leaf_range(self, prefix: Sequence[int]) -> tuple[int, int]:
        """The half-open range of leaves whose semantic IDs begin with a prefix; an empty range if there are none."""
        if len(prefix) > self.num_levels or not all(0 <= code < self.codebook_size for code in prefix):
            return 0, 0
        span = self.codebook_size ** (self.num_levels - len(prefix))
        low = int(pack_codes(np.asarray([prefix], dtype=np.int64).reshape(1, -1), self.codebook_size)[0]) * span
        first, last = np.searchsorted(self.keys_N, [low, low + span])
        return int(first), int(last)

    @cached_property
    def paths_LN(self) -> Int32Array:
        """Each leaf's node at depths 0..L-1, int32 of shape (L, N). Row 0 is the root. Computed at first use."""
        paths = np.empty((self.num_levels, self.num_leaves), dtype=np.int32)
        for depth, start in enumerate(self.leaf_start):
            paths[depth] = np.repeat(np.arange(len(start) - 1, dtype=np.int32), np.diff(start))
        return paths


def pack_codes(codes_ML: NDArray[np.integer], codebook_size: int) -> IntArray:
    """Packs each row of codes into one base-V integer. The integers have the lexicographic order of the rows.

    >>> pack_codes(np.array([[0, 3], [1, 0]]), 4).tolist()
    [3, 4]

    Args:
        codes_ML: Integers in [0, V), shape (M, L).
        codebook_size: V.

    Returns:
        Keys, int64 of shape (M,).
    """
    keys = np.zeros(len(codes_ML), dtype=np.int64)
    for level in range(codes_ML.shape[1]):
        keys = keys * codebook_size + codes_ML[:, level]
    return keys


def unpack_codes(keys_M: IntArray, codebook_size: int, num_levels: int) -> IntArray:
    """Unpacks the keys that `pack_codes` made.

    >>> unpack_codes(np.array([3, 4]), 4, 2).tolist()
    [[0, 3], [1, 0]]

    Args:
        keys_M: Packed codes.
        codebook_size: V.
        num_levels: L, the number of codes in a key.

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
