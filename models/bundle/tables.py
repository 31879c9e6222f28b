"""Reads the tables and matrices of a bundle and checks their content."""

from pathlib import Path
from reprlib import repr as shortened
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

ITEM_ID = "item_id"


def read_items(path: Path, *, rows: int) -> pl.DataFrame:
    """Reads item_id and the attributes of the items.

    Args:
        path: A Parquet file.
        rows: The expected number of items.

    Raises:
        ValueError: If the number of items is wrong, or an item_id is missing or not unique.
    """
    items = pl.read_parquet(path)
    if items.schema.get(ITEM_ID) != pl.String or len(items) != rows:
        raise ValueError(f"expected {rows} rows with {ITEM_ID}, a string, got {len(items)} of {dict(items.schema)}")
    if items[ITEM_ID].null_count() or items[ITEM_ID].n_unique() != rows:
        raise ValueError(f"every {ITEM_ID} must be present and unique")
    return items


def read_matrix(path: Path, kinds: tuple[type[np.floating], ...], *, rows: int, columns: int | None) -> NDArray[Any]:
    """Reads a matrix of finite numbers.

    Args:
        path: A .npy file.
        kinds: The allowed types of numbers.
        rows: The expected number of rows.
        columns: The expected number of columns; None for any number.

    Raises:
        ValueError: If the file holds anything else, or a number is not finite.
    """
    with path.open("rb") as file:  # not `numpy.load`, which opens archives too
        matrix = np.lib.format.read_array(file, allow_pickle=False)
    if matrix.dtype not in kinds or matrix.ndim != 2:
        raise ValueError(f"expected a matrix of {[kind.__name__ for kind in kinds]}, got {shortened(matrix)}")
    if len(matrix) != rows or matrix.shape[1] != (matrix.shape[1] if columns is None else columns):
        raise ValueError(f"expected the shape ({rows}, {columns or 'any'}), got {matrix.shape}")
    if not np.isfinite(matrix).all():
        raise ValueError("every number must be finite")
    return matrix
