"""Reads and writes what training learned about each item: the semantic ID, the popularity and the vector.

Shapes: R items, N = R leaves, L levels, D width.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from rqrec.models.array_types import Int32Array, IntArray
from rqrec.models.bundle.layout import ITEM_VECTORS, LEARNED_ITEMS
from rqrec.models.bundle.mapped.mapped_file import map_file
from rqrec.models.bundle.tables import check_numbers
from rqrec.models.growing_array import GrowingArray
from rqrec.models.trie.trie import SemanticIdTrie

SEMANTIC_ID, POPULARITY, ITEM_VECTOR = "semantic_id", "popularity", "item_vector"
LARGEST_VECTOR = 1e6  # the squares of larger numbers may exceed float32


@dataclass(frozen=True, eq=False)
class LearnedItems:
    """What training learned about each of R items. Row r is row r of the bundle's table of items.

    Attributes:
        trie: The trie of the semantic IDs. Its `row_of_leaf_N` has the row of each leaf.
        popularity_R: How often users chose each item in the training data, int64.
        vectors: The vector of the item at each leaf, float32 of shape (N, D), which the search reads. There is room for
            as many vectors of items that are written later.
    """

    trie: SemanticIdTrie
    popularity_R: NDArray[np.int64]
    vectors: GrowingArray[np.float32]

    @cached_property
    def leaf_of_row_R(self) -> Int32Array:
        """The leaf of the item of each row, int32."""
        return self.trie.leaf_of_row_N.astype(np.int32)

    @cached_property
    def known_rows(self) -> IntArray:
        """The rows of the known items, which users chose in the training data; all rows if they chose none."""
        known: IntArray = np.flatnonzero(self.popularity_R)
        return known if len(known) else np.arange(len(self.popularity_R))

    @property
    def codes_RL(self) -> IntArray:
        """The semantic ID of each item, L codes, int64. Each access computes them anew."""
        return self.trie.codes_of(self.leaf_of_row_R.astype(np.int64))

    @property
    def vectors_RD(self) -> NDArray[np.float32]:
        """The vector of each item, float32. Each access makes a copy."""
        vectors_RD: NDArray[np.float32] = self.vectors.rows[self.leaf_of_row_R]
        return vectors_RD


def write_learned_items(
    folder: Path, trie: SemanticIdTrie, popularity_R: IntArray, vectors_RD: NDArray[np.float32] | None
) -> None:
    """Writes the semantic IDs, popularity and vectors of the items into a bundle's folder.

    Args:
        folder: The bundle's folder.
        trie: The trie of the semantic IDs.
        popularity_R: How often users chose each item in the training data.
        vectors_RD: The vector of each item, float32; None if they get a file of their own, which the service maps (see
            `models.items.mapped_files`).
    """
    codes_RL = trie.codes_of(trie.leaf_of_row_N).astype(np.int32)
    columns = {SEMANTIC_ID: codes_RL, POPULARITY: popularity_R.astype(np.int64)}
    if vectors_RD is not None:
        columns[ITEM_VECTOR] = vectors_RD
    pl.DataFrame(columns).write_parquet(folder / LEARNED_ITEMS)


def read_learned_items(
    folder: Path, *, rows: int, levels: int, codebook_size: int, width: int, is_mapped: bool
) -> LearnedItems:
    """Reads and checks what `write_learned_items` wrote.

    Args:
        folder: The bundle's folder.
        rows: R, the expected number of items.
        levels: L, the expected number of codes in a semantic ID.
        codebook_size: V; codes must be in [0, V).
        width: D, the expected width of the item vectors.
        is_mapped: Whether the vectors are in a file of their own, which is mapped into memory. They are not checked.

    Raises:
        ValueError: If a shape or type is wrong, a value is missing or out of range, or two semantic IDs are equal.
    """
    expected = {SEMANTIC_ID: pl.Array(pl.Int32, levels), POPULARITY: pl.Int64}
    if not is_mapped:
        expected[ITEM_VECTOR] = pl.Array(pl.Float32, width)
    frame = pl.read_parquet(folder / LEARNED_ITEMS, glob=False)
    if dict(frame.schema) != expected or len(frame) != rows:
        raise ValueError(f"expected {rows} rows of {expected}, got {len(frame)} of {dict(frame.schema)}")
    for column in frame.iter_columns():
        flat = column.explode() if isinstance(column.dtype, pl.Array) else column
        if column.null_count() or flat.null_count():
            raise ValueError(f"{column.name} must have no nulls")
    codes_RL, popularity_R = frame[SEMANTIC_ID].to_numpy(), frame[POPULARITY].to_numpy().astype(np.int64)
    if codes_RL.min() < 0 or codes_RL.max() >= codebook_size:
        raise ValueError(f"codes must be in [0, {codebook_size}), got {codes_RL.min()} to {codes_RL.max()}")
    if popularity_R.min() < 0:
        raise ValueError("popularity must not be negative")
    trie = SemanticIdTrie.build(codes_RL, codebook_size=codebook_size)
    vectors = _mapped_vectors(folder, rows, width) if is_mapped else _vectors(frame, trie)
    return LearnedItems(trie, popularity_R, vectors)


def _mapped_vectors(folder: Path, rows: int, width: int) -> GrowingArray[np.float32]:
    memory = map_file(folder, ITEM_VECTORS, room=rows)
    if memory.dtype != np.float32 or memory.shape != (2 * rows, width):
        found = (len(memory) - rows, *memory.shape[1:])
        raise ValueError(f"expected float32 vectors of the shape ({rows}, {width}), got {memory.dtype} {found}")
    return GrowingArray.from_memory(memory, rows)


def _vectors(frame: pl.DataFrame, trie: SemanticIdTrie) -> GrowingArray[np.float32]:
    vectors_RD = frame[ITEM_VECTOR].to_numpy()
    check_numbers(vectors_RD, LARGEST_VECTOR)
    # There is room for as many written items. It takes memory only when they are written.
    return GrowingArray(vectors_RD[trie.row_of_leaf_N], room=len(vectors_RD))
