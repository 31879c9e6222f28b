"""Checks ratings and event types: ratings become numbers, event types become text. Both may have missing values."""

import polars as pl

from rqrec.training.data.dataset import EVENT_TYPE, DataError
from rqrec.training.data.reading.names import columns_option
from rqrec.training.data.reading.typed_text import MISSING_TEXTS, without_missing
from rqrec.training.data.reading.written_numbers import written_numbers
from rqrec.training.data.report import DataReport
from rqrec.training.data.settings import DatasetSettings

MAX_EVENT_TYPES = 100


def checked_ratings(column: pl.Series, *, path: str, report: DataReport, decimal: str = "auto") -> pl.Series:
    """Converts ratings to float64. A missing rating becomes null.

    Args:
        column: The ratings as the file has them: numbers, or text such as "4.5".
        path: Name of the file, for messages.
        report: Receives a line if texts such as "NA" are read as missing ratings.
        decimal: The decimal mark of numbers in text: "." or ",", or "auto" to detect it.

    Raises:
        DataError: If a value is neither missing nor a finite number.
    """
    if isinstance(column.dtype, pl.Categorical | pl.Enum):
        column = column.cast(pl.String)
    if column.dtype == pl.String:
        column = _without_marks(column, path, report)
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


def checked_event_types(column: pl.Series, *, path: str, report: DataReport) -> pl.Series:
    """Converts event types to text without surrounding spaces. A missing type becomes null.

    Args:
        column: The event types as the file has them: text, or values such as numbers that are converted to text.
        path: Name of the file, for messages.
        report: Receives a line if texts such as "none" are read as missing types.

    Raises:
        DataError: If the values are lists, objects or bytes.
    """
    if column.dtype.is_nested() or column.dtype in (pl.Binary, pl.Object):
        raise DataError(
            f"{path}: column {column.name!r} must hold text, got {column.dtype}: convert it, or set "
            "DatasetSettings.events = 'ignore'"
        )
    return _without_marks(column.cast(pl.String), path, report)


def require_types(types: pl.Series | None, settings: DatasetSettings, *, path: str) -> None:
    """Checks that the interactions have every event type that `DatasetSettings.event_types` names.

    Args:
        types: The checked event types of all rows of the file; None if it has no column of them, or does not use it.
        settings: The types that must be there, and the names of columns for the message.
        path: Name of the file, for messages.

    Raises:
        DataError: If a type of the settings is not in the file.
    """
    if types is None:
        if settings.event_types:
            raise DataError(
                f"{path} must have a column {EVENT_TYPE}, because DatasetSettings.event_types is set: name it by "
                f"{columns_option(settings.columns, {EVENT_TYPE: '…'})}"
            )
        return
    names = types.drop_nulls().value_counts().sort("count", EVENT_TYPE, descending=[True, False])[EVENT_TYPE]
    if strange := sorted(set(settings.event_types) - set(names)):
        marks = [name for name in strange if name.strip().lower() in MISSING_TEXTS]
        reason = f" (texts such as {marks[0]!r} count as no type)" if marks else ""
        raise DataError(
            f"{path} must have the types of DatasetSettings.event_types, but {strange} are not in the column "
            f"{EVENT_TYPE}: it has {names.head(MAX_EVENT_TYPES).to_list()}{reason}"
        )


def _without_marks(column: pl.Series, path: str, report: DataReport) -> pl.Series:
    """Replaces texts such as "NA" by null, and reports how many there are. Empty texts are not counted."""
    cleaned = without_missing(column)
    marks = column.filter(cleaned.is_null() & (column.str.strip_chars() != ""))
    if len(marks):
        report.note(f"{path}: {column.name} is missing in {len(marks):,} rows that have texts such as {marks[0]!r}")
    return cleaned


def _is_written(column: pl.Series) -> pl.Series:
    """Returns whether each value is something else than NaN."""
    return ~column.is_nan().fill_null(value=False) if column.dtype.is_float() else column.is_not_null()
