"""The trie of a catalogue's semantic IDs, as flat arrays.

Shapes: N leaves, L levels, V codes per level, M looked-up rows, F children of a node.

Leaves stand in lexicographic order of their codes, so every node is a contiguous range of leaves, and the
children of node i at depth d are the nodes `child_start[d][i] .. child_start[d][i + 1]` of depth d + 1 (CSR).
Depth 0 is the root, depth L the leaves.
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
    """A prefix tree over unique semantic IDs. Immutable; build one with `SemanticIdTrie.build`.

    Attributes:
        codebook_size: V; every code lies in [0, V).
        keys_N: Each leaf's codes as one base-V number, ascending; the sorted leaves themselves.
        row_of_leaf_N: Row of the table given to `build` that each leaf came from, int32.
        child_start: For depth d in 0..L-1, int32 offsets of shape (nodes at d + 1,).
        child_code: For depth d in 0..L-1, the code that leads to each node of depth d + 1, int32.
        leaf_start: For depth d in 0..L-1, int32 offsets of each node's first leaf, shape (nodes at d + 1,). The last
            is the very array of child_start: the children of its nodes are the leaves.
    """

    codebook_size: int
    keys_N: IntArray
    row_of_leaf_N: Int32Array
    child_start: tuple[Int32Array, ...]
    child_code: tuple[Int32Array, ...]
    leaf_start: tuple[Int32Array, ...]

    @classmethod
    def build(cls, codes_NL: NDArray[np.integer], *, codebook_size: int) -> "SemanticIdTrie":
        """Builds the trie with array operations: one sort, then one pass a level.

        Args:
            codes_NL: One semantic ID a row, integers in [0, codebook_size), shape (N, L), N >= 1; rows unique.
            codebook_size: V, with V ** L below 2 ** 63 so that an ID packs into one integer.

        Raises:
            ValueError: If the shape, a code, or the packed size is out of range, or two rows are equal.
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
        return cls._of_sorted(keys_N, row_of_leaf_N.astype(np.int32), codes_NL.shape[1], codebook_size)

    def with_changes(
        self,
        *,
        inserted_ML: NDArray[np.integer] | None = None,
        inserted_rows_M: NDArray[np.integer] | None = None,
        deleted_leaves: NDArray[np.integer] | None = None,
    ) -> "SemanticIdTrie":
        """A new trie with leaves inserted and deleted; this one stays as it is.

        Nothing is sorted again but what comes in: arrays are copied around the changes, in one pass a level.

        Args:
            inserted_ML: Codes of new leaves, shape (M, L), none of which is in the trie after the deletions.
            inserted_rows_M: Rows that the new leaves come from, shape (M,), as `row_of_leaf_N` will hold them.
            deleted_leaves: Leaf positions in this trie.

        Raises:
            ValueError: If an inserted semantic ID is out of range or already there, rows and codes do not match, a
                deleted position is no leaf, or no leaf would be left.
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
            places = np.searchsorted(keys_N, new_M)
            taken = (np.append(keys_N, -1)[places] == new_M) | (np.diff(new_M, prepend=-1) == 0)
            if taken.any():
                codes = inserted_ML[order[np.argmax(taken)]].tolist()
                raise ValueError(f"the semantic ID {codes} is taken: give the item another collision code")
            keys_N = np.insert(keys_N, places, new_M)
            rows_N = np.insert(rows_N, places, inserted_rows_M[order])
        if not len(keys_N):
            raise ValueError("a trie needs at least one leaf: this change would delete the last one")
        return self._of_sorted(keys_N, rows_N, self.num_levels, self.codebook_size)

    @classmethod
    def _of_sorted(
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
        """L, the number of codes in a semantic ID, the collision code included."""
        return len(self.child_start)

    @cached_property
    def max_children(self) -> tuple[int, ...]:
        """F for each depth 0..L-1: the widest node's number of children."""
        return tuple(int(np.diff(start).max()) for start in self.child_start)

    @property
    def codes_NL(self) -> IntArray:
        """The leaves' codes in leaf order, int64 of shape (N, L)."""
        return self.codes_of(np.arange(self.num_leaves))

    @property
    def leaf_of_row_N(self) -> IntArray:
        """The leaf at which each row of the original table stands, int64; -1 for a row whose leaf was deleted."""
        leaf_of_row = np.full(int(self.row_of_leaf_N.max()) + 1, NO_LEAF, dtype=np.int64)
        leaf_of_row[self.row_of_leaf_N] = np.arange(self.num_leaves)
        return leaf_of_row

    @property
    def nbytes(self) -> int:
        """Memory that all arrays take together, in bytes."""
        # The last leaf_start is the array of the last child_start.
        inner = (*self.child_start, *self.child_code, *self.leaf_start[:-1], self.paths_LN)
        return self.keys_N.nbytes + self.row_of_leaf_N.nbytes + sum(array.nbytes for array in inner)

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
        if len(prefix) > self.num_levels or not all(0 <= code < self.codebook_size for code in prefix):
            return 0, 0
        span = self.codebook_size ** (self.num_levels - len(prefix))
        low = int(pack_codes(np.asarray([prefix], dtype=np.int64).reshape(1, -1), self.codebook_size)[0]) * span
        first, last = np.searchsorted(self.keys_N, [low, low + span])
        return int(first), int(last)

    @cached_property
    def paths_LN(self) -> Int32Array:
        """Each leaf's node at depths 0..L-1, int32 of shape (L, N); row 0 is the root, node 0. Made at first use."""
        paths = np.empty((self.num_levels, self.num_leaves), dtype=np.int32)
        for depth, start in enumerate(self.leaf_start):
            paths[depth] = np.repeat(np.arange(len(start) - 1, dtype=np.int32), np.diff(start))
        return paths


def pack_codes(codes_ML: NDArray[np.integer], codebook_size: int) -> IntArray:
    """Packs rows of codes into base-V integers whose order is the rows' lexicographic order."""
    keys = np.zeros(len(codes_ML), dtype=np.int64)
    for level in range(codes_ML.shape[1]):
        keys = keys * codebook_size + codes_ML[:, level]
    return keys


def unpack_codes(keys_M: IntArray, codebook_size: int, num_levels: int) -> IntArray:
    """The inverse of `pack_codes`: codes of shape (M, num_levels)."""
    return keys_M[:, None] // _place_values(codebook_size, num_levels) % codebook_size


@cache
def _place_values(codebook_size: int, num_levels: int) -> IntArray:
    return codebook_size ** np.arange(num_levels - 1, -1, -1, dtype=np.int64)


def _check_codes(codes_NL: NDArray[np.integer], codebook_size: int) -> None:
    if codes_NL.ndim != 2 or 0 in codes_NL.shape:
        raise ValueError(f"codes_NL must have shape (N, L) with N, L >= 1, got {codes_NL.shape}")
    if codebook_size < 1 or codebook_size ** codes_NL.shape[1] >= 2**63:
        raise ValueError(f"codebook_size ** L must lie in [1, 2 ** 63), got {codebook_size} ** {codes_NL.shape[1]}")
    low, high = int(codes_NL.min()), int(codes_NL.max())
    if low < 0 or high >= codebook_size:
        raise ValueError(f"codes must lie in [0, {codebook_size}), got codes from {low} to {high}")
