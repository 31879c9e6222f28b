"""Reads the tables and matrices of a bundle and checks their content."""

from pathlib import Path
from reprlib import repr as shortened
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

ITEM_ID = "item_id"
MAX_ITEM_ID = 256  # characters, as in the HTTP contract
CHECKED_AT_ONCE = 1 << 22  # numbers
CONTROL = r"[\x00-\x1f\x7f]"  # characters that no path of a request may hold


def read_items(path: Path, *, rows: int) -> pl.DataFrame:
    """Reads the bundle's table of items, and checks it.

    Args:
        path: The path of the Parquet file, with a column `item_id`.
        rows: The expected number of items.

    Raises:
        ValueError: If the number of items is wrong, if an attribute has a type that JSON cannot express, or if an
            item_id is missing, empty, not unique, longer than `MAX_ITEM_ID` or contains a control character.
    """
    items = pl.read_parquet(path, glob=False).rechunk()  # rows of lists in several chunks would be slow to look up
    if items.schema.get(ITEM_ID) != pl.String or len(items) != rows:
        raise ValueError(f"expected {rows} rows with {ITEM_ID}, a string, got {len(items)} of {dict(items.schema)}")
    if items[ITEM_ID].null_count() or items[ITEM_ID].n_unique() != rows:
        raise ValueError(f"every {ITEM_ID} must be present and unique")
    for name, kind in items.schema.items():
        if not _is_shown(kind):
            raise ValueError(f"the attribute {shortened(name)} has the type {kind}, which a payload cannot show")
    ids = items[ITEM_ID]
    refused = ids.filter((ids == "") | (ids.str.len_chars() > MAX_ITEM_ID) | ids.str.contains(CONTROL))
    if len(refused):
        raise ValueError(
            f"every {ITEM_ID} must have 1 to {MAX_ITEM_ID} characters and no control character, got "
            f"{shortened(refused[0])}"
        )
    return items


def _is_shown(kind: pl.DataType) -> bool:
    """Whether JSON has a value for every value of a type."""
    if isinstance(kind, pl.List | pl.Array):
        return _is_shown(kind.inner)  # type: ignore[arg-type]
    if isinstance(kind, pl.Struct):
        return all(_is_shown(field.dtype) for field in kind.fields)  # type: ignore[arg-type]
    return kind not in (pl.Binary, pl.Object, pl.Unknown)


def read_matrix(
    path: Path, kinds: tuple[type[np.floating], ...], *, rows: int, columns: int | None, largest: float | None
) -> NDArray[Any]:
    """Maps a matrix of numbers from a file into memory, and checks it.

    Args:
        path: The path of the .npy file.
        kinds: The allowed types of the numbers, such as `(np.float32,)`.
        rows: The expected number of rows.
        columns: The expected number of columns; None for any number.
        largest: The largest allowed absolute value of a number, which must be finite; None to check no number.

    Raises:
        ValueError: If the file holds no matrix of this type and shape, or a number is not finite or too large.
    """
    # Not `numpy.load`, which opens archives too. Mode c: PyTorch warns of arrays that are not writable.
    matrix = np.asarray(np.lib.format.open_memmap(path, mode="c"))
    if matrix.dtype not in kinds or matrix.ndim != 2:
        raise ValueError(f"expected a matrix of {[kind.__name__ for kind in kinds]}, got {shortened(matrix)}")
    if len(matrix) != rows or matrix.shape[1] != (matrix.shape[1] if columns is None else columns):
        raise ValueError(f"expected the shape ({rows}, {columns or 'any'}), got {matrix.shape}")
    if largest is not None:
        check_numbers(matrix, largest)
    return matrix


def check_numbers(numbers: NDArray[np.floating], largest: float) -> None:
    """Checks that numbers are finite and not too large. It reads them once, part by part, and makes no copy of all.

    Args:
        numbers: An array of float16 or float32 numbers, of one or more axes.
        largest: The largest allowed absolute value.

    Raises:
        ValueError: If a number is not finite or too large.
    """
    step = max(CHECKED_AT_ONCE // max(int(np.prod(numbers.shape[1:])), 1), 1)
    for begin in range(0, len(numbers), step):
        found = _largest(np.ascontiguousarray(numbers[begin : begin + step]))
        if not np.isfinite(found):
            raise ValueError("every number must be finite")
        if found > largest:
            raise ValueError(f"every number must be within -{largest:g} and {largest:g}, got {found:g} beyond them")


def _largest(numbers: NDArray[np.floating]) -> float:
    """The largest absolute value; NaN if a number is NaN. Without the sign, the bits of floats sort like the floats."""
    kind = np.dtype(f"u{numbers.itemsize}")
    without_sign = kind.type(np.iinfo(kind).max >> 1)
    return float((numbers.view(kind) & without_sign).max().view(numbers.dtype))
