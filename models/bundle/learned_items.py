"""Reads and writes the bundle's table of what training learned: the semantic ID, popularity and vector of each item.

Shapes: R items, L levels, D width.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

SEMANTIC_ID, POPULARITY, ITEM_VECTOR = "semantic_id", "popularity", "item_vector"
LARGEST_VECTOR = 1e6  # the squares of larger numbers may exceed float32


@dataclass(frozen=True, eq=False)
class LearnedItems:
    """What training learned about each of R items, in the row order of the bundle's table of items.

    Attributes:
        codes_RL: The semantic ID of each item, L codes, int64.
        popularity_R: How often users chose each item in the training data, int64.
        vectors_RD: The vector of each item, which the search reads, float32.
    """

    codes_RL: NDArray[np.int64]
    popularity_R: NDArray[np.int64]
    vectors_RD: NDArray[np.float32]

    def write(self, path: Path) -> None:
        """Writes the semantic IDs, popularity and vectors of the items to a Parquet file, which `read` can read."""
        columns = {
            SEMANTIC_ID: self.codes_RL.astype(np.int32),
            POPULARITY: self.popularity_R,
            ITEM_VECTOR: self.vectors_RD,
        }
        pl.DataFrame(columns).write_parquet(path)

    @classmethod
    def read(cls, path: Path, *, rows: int, levels: int, codebook_size: int, width: int) -> "LearnedItems":
        """Reads and checks a Parquet file that `write` wrote.

        Args:
            path: The path of the Parquet file.
            rows: R, the expected number of items.
            levels: L, the expected number of codes in a semantic ID.
            codebook_size: V; codes must be in [0, V).
            width: D, the expected width of the item vectors.

        Raises:
            ValueError: If a shape or type is wrong, or a value is missing or out of range.
        """
        frame = pl.read_parquet(path)
        expected = {
            SEMANTIC_ID: pl.Array(pl.Int32, levels),
            POPULARITY: pl.Int64,
            ITEM_VECTOR: pl.Array(pl.Float32, width),
        }
        if dict(frame.schema) != expected or len(frame) != rows:
            raise ValueError(f"expected {rows} rows of {expected}, got {len(frame)} of {dict(frame.schema)}")
        for column in frame.iter_columns():
            flat = column.explode() if isinstance(column.dtype, pl.Array) else column
            if column.null_count() or flat.null_count():
                raise ValueError(f"{column.name} must have no nulls")
        codes_RL, vectors_RD = frame[SEMANTIC_ID].to_numpy().astype(np.int64), frame[ITEM_VECTOR].to_numpy()
        popularity_R = frame[POPULARITY].to_numpy().astype(np.int64)
        if codes_RL.min() < 0 or codes_RL.max() >= codebook_size:
            raise ValueError(f"codes must be in [0, {codebook_size}), got {codes_RL.min()} to {codes_RL.max()}")
        if popularity_R.min() < 0 or not (np.abs(vectors_RD) <= LARGEST_VECTOR).all():
            raise ValueError(
                "popularity must not be negative, and item vectors must be numbers within "
                f"-{LARGEST_VECTOR:g} and {LARGEST_VECTOR:g}"
            )
        return cls(codes_RL, popularity_R, vectors_RD)
