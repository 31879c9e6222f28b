"""Finds the leaf of an item of the bundle by its id.

Shapes: N leaves, M looked-up ids.
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from rqrec.models.array_types import Int32Array, IntArray
from rqrec.models.trie.trie import NO_LEAF
from rqrec.service.catalogue.item import is_unicode

HASHED_FROM = 100_000  # items; a dictionary is faster, but takes 130 bytes an item where hashes take 12


class LeafIndex(Mapping[str, int]):
    """The leaf of each item of the bundle, by item id. It never changes.

    The ids of a large catalogue stay in their column. Beside them is the hash of each id, sorted, with its leaf.

    Args:
        ids: The ids in the order of the bundle, all different.
        row_of_leaf_N: For each leaf, the number of its item in the bundle.

    Example:
        >>> index = LeafIndex(pl.Series(["a", "b", "c"]), np.int32([2, 0, 1]))
        >>> index["c"], index.leaves(["b", "x"]).tolist()
        (0, [2, -1])
    """

    def __init__(self, ids: pl.Series, row_of_leaf_N: Int32Array) -> None:
        self._ids, self._row_of_leaf_N = ids, row_of_leaf_N
        self._leaf_of_id: dict[str, int] | None = None
        if len(ids) < HASHED_FROM:
            self._leaf_of_id = {item_id: leaf for leaf, item_id in enumerate(ids.gather(row_of_leaf_N))}
            return
        hash_N = _hashes(ids)[row_of_leaf_N]
        self._leaf_by_hash_N = np.argsort(hash_N).astype(np.int32)
        self._hash_N = hash_N[self._leaf_by_hash_N]

    def leaves(self, ids: Sequence[str]) -> IntArray:
        """Returns the leaf of each of M items of the bundle, int64; `NO_LEAF` for an id that it does not have.

        Args:
            ids: Any ids.
        """
        if self._leaf_of_id is not None:
            leaf_of_id = self._leaf_of_id
            return np.array([leaf_of_id.get(item_id, NO_LEAF) for item_id in ids], dtype=np.int64)
        # An id that is no Unicode is not in the bundle; neither is the empty id.
        asked = pl.Series([item_id if is_unicode(item_id) else "" for item_id in ids], dtype=pl.String)
        hash_M, leaf_M = _hashes(asked), np.full(len(ids), NO_LEAF, dtype=np.int64)
        at_M, open_M = np.searchsorted(self._hash_N, hash_M), np.arange(len(ids))
        while len(open_M := open_M[at_M[open_M] < len(self._hash_N)]):
            open_M = open_M[self._hash_N[at_M[open_M]] == hash_M[open_M]]
            leaves = self._leaf_by_hash_N[at_M[open_M]]
            is_found = (self._ids.gather(self._row_of_leaf_N[leaves]) == asked.gather(open_M)).to_numpy()
            leaf_M[open_M[is_found]] = leaves[is_found]
            open_M = open_M[~is_found]  # another id has the same hash; the next entry may be it
            at_M[open_M] += 1
        return leaf_M

    def __getitem__(self, item_id: str) -> int:
        leaf = int(self.leaves([item_id])[0])
        if leaf == NO_LEAF:
            raise KeyError(item_id)
        return leaf

    def __len__(self) -> int:
        return len(self._ids)

    def __iter__(self) -> Iterator[str]:
        return iter(self._ids.gather(self._row_of_leaf_N))


def _hashes(ids: pl.Series) -> NDArray[np.uint64]:
    hashes: NDArray[np.uint64] = ids.hash().to_numpy()
    return hashes
