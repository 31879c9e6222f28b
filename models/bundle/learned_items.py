"""What training learned of the items, as a bundle holds it.

Shapes: R items, L levels, D width.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

SEMANTIC_ID, POPULARITY, ITEM_VECTOR = "semantic_id", "popularity", "item_vector"


@dataclass(frozen=True, eq=False)
class LearnedItems:
    """What training learned of the items, a row an item.

    Attributes:
        codes_RL: Their semantic IDs, int64.
        popularity_R: How often each was chosen in training, int64.
        vectors_RD: What the search reads of each, float32.
    """

    codes_RL: NDArray[np.int64]
    popularity_R: NDArray[np.int64]
    vectors_RD: NDArray[np.float32]

    def write(self, path: Path) -> None:
        """Writes a table that `read` reads."""
        columns = {
            SEMANTIC_ID: self.codes_RL.astype(np.int32),
            POPULARITY: self.popularity_R,
            ITEM_VECTOR: self.vectors_RD,
        }
        pl.DataFrame(columns).write_parquet(path)

    @classmethod
    def read(cls, path: Path, *, rows: int, levels: int, codebook_size: int, width: int) -> "LearnedItems":
        """Reads what `write` wrote.

        Args:
            path: The table.
            rows: R.
            levels: L.
            codebook_size: V: codes are in [0, V).
            width: D.

        Raises:
            ValueError: If the table is of another shape or type, lacks a value, or holds one that cannot be.
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
        if popularity_R.min() < 0 or not np.isfinite(vectors_RD).all():
            raise ValueError("popularity must not be negative, and item vectors must be finite")
        return cls(codes_RL, popularity_R, vectors_RD)
