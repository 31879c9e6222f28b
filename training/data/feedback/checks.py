"""Checks ratings and event types: ratings become numbers, event types become text. Both may have missing values."""

import polars as pl

from rqrec.training.data.dataset import DataError
from rqrec.training.data.reading.typed_text import without_missing
from rqrec.training.data.reading.written_numbers import written_numbers


def checked_ratings(column: pl.Series, *, path: str, decimal: str = "auto") -> pl.Series:
    """Converts ratings to float64. A missing rating becomes null.

    Args:
        column: The ratings as the file has them: numbers, or text such as "4.5".
        path: Name of the file, for messages.
        decimal: The decimal mark of numbers in text: "." or ",", or "auto" to detect it.

    Raises:
        DataError: If a value is neither missing nor a finite number.
    """
    if column.dtype == pl.String:
        column = without_missing(column)
        # A column of plain numbers, which may be millions of rows, need not be parsed as people write numbers.
        is_plain = decimal == "auto" and column.cast(pl.Float64, strict=False).null_count() == column.null_count()
        written = None if is_plain else written_numbers(column, decimal=decimal)
        if written is not None and written.is_sure:
            column = written.numbers.alias(column.name)
    if column.dtype.is_nested() or column.dtype.is_temporal() or column.dtype in (pl.Binary, pl.Object):
        raise DataError(
            f"{path}: column {column.name!r} must hold numbers, got {column.dtype}: convert it, or set "
            "DatasetSettings.ratings = 'ignore'"
        )
    numbers = column.cast(pl.Float64, strict=False).fill_nan(None)
    bad = (numbers.is_null() & column.is_not_null() & _is_written(column)) | numbers.is_infinite().fill_null(
        value=False
    )
    if bad.any():
        row = bad.arg_true()[0]
        raise DataError(
            f"{path}, data row {row + 1}: {column.name} must be a number, got {column[row]!r}; {bad.sum():,} of "
            f"{len(column):,} values are none: correct them, leave them empty, or set DatasetSettings.ratings = "
            "'ignore'"
        )
    return numbers


def checked_event_types(column: pl.Series, *, path: str) -> pl.Series:
    """Converts event types to text without surrounding spaces. A missing type becomes null.

    Args:
        column: The event types as the file has them: text, or values such as numbers that are converted to text.
        path: Name of the file, for messages.

    Raises:
        DataError: If the values are lists, objects or bytes.
    """
    if column.dtype.is_nested() or column.dtype in (pl.Binary, pl.Object):
        raise DataError(
            f"{path}: column {column.name!r} must hold text, got {column.dtype}: convert it, or set "
            "DatasetSettings.events = 'ignore'"
        )
    return without_missing(column.cast(pl.String))


def _is_written(column: pl.Series) -> pl.Series:
    """Returns whether each value is something else than NaN."""
    return ~column.is_nan().fill_null(value=False) if column.dtype.is_float() else column.is_not_null()
