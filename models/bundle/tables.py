"""The tables and matrices of a bundle, read and checked."""

from pathlib import Path
from reprlib import repr as shortened
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

ITEM_ID = "item_id"


def read_items(path: Path, *, rows: int) -> pl.DataFrame:
    """Reads item_id and the attributes of items.

    Args:
        path: A Parquet file.
        rows: How many items there must be.

    Raises:
        ValueError: If there are others, or an id is missing or there twice.
    """
    items = pl.read_parquet(path)
    if items.schema.get(ITEM_ID) != pl.String or len(items) != rows:
        raise ValueError(f"expected {rows} rows with {ITEM_ID}, a string, got {len(items)} of {dict(items.schema)}")
    if items[ITEM_ID].null_count() or items[ITEM_ID].n_unique() != rows:
        raise ValueError(f"every {ITEM_ID} must be there, and once")
    return items


def read_matrix(path: Path, kinds: tuple[type[np.floating], ...], *, rows: int, columns: int | None) -> NDArray[Any]:
    """Reads a matrix of finite numbers.

    Args:
        path: A .npy file.
        kinds: The types of numbers that it may hold.
        rows: How many rows it must have.
        columns: How many columns; None for any number.

    Raises:
        ValueError: If it is something else.
    """
    with path.open("rb") as file:  # not by `numpy.load`, which opens archives too
        matrix = np.lib.format.read_array(file, allow_pickle=False)
    if matrix.dtype not in kinds or matrix.ndim != 2:
        raise ValueError(f"expected a matrix of {[kind.__name__ for kind in kinds]}, got {shortened(matrix)}")
    if len(matrix) != rows or matrix.shape[1] != (matrix.shape[1] if columns is None else columns):
        raise ValueError(f"expected the shape ({rows}, {columns or 'any'}), got {matrix.shape}")
    if not np.isfinite(matrix).all():
        raise ValueError("every number must be finite")
    return matrix
