"""Checks ratings and event types: ratings become numbers, event types become text. Both may have missing values."""

import polars as pl

from rqrec.training.data.compact.distinct_texts import DistinctTexts
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
    if isinstance(column.dtype, pl.String | pl.Categorical | pl.Enum):
        return _numbers_of_text(DistinctTexts.from_column(column), path, report, decimal)
    if column.dtype.is_nested() or column.dtype.is_temporal() or column.dtype in (pl.Binary, pl.Object):
        raise DataError(
            f"{path}: column {column.name!r} must hold numbers, got {column.dtype}: convert it, or set "
            "DatasetSettings.ratings = 'ignore'"
        )
    numbers = column.cast(pl.Float64, strict=False).fill_nan(None)
    is_written = ~column.is_nan().fill_null(value=False) if column.dtype.is_float() else column.is_not_null()
    bad = (numbers.is_null() & column.is_not_null() & is_written) | numbers.is_infinite().fill_null(value=False)
    if bad.any():
        row = bad.arg_true()[0]
        raise _no_number(column.name, path, row, column[row], int(bad.sum()), len(column))
    return numbers


def _numbers_of_text(texts: DistinctTexts, path: str, report: DataReport, decimal: str) -> pl.Series:
    """Reads ratings that are text. A missing rating becomes null."""
    values_V = _without_marks(texts, path, report)
    # A column of plain numbers need not be parsed as people write numbers.
    is_plain = decimal == "auto" and values_V.cast(pl.Float64, strict=False).null_count() == values_V.null_count()
    written = None if is_plain else written_numbers(values_V, decimal=decimal)
    if written is not None and written.is_sure:
        return texts.spread(written.numbers)
    numbers_V = values_V.cast(pl.Float64, strict=False).fill_nan(None)
    bad_V = (numbers_V.is_null() & values_V.is_not_null()) | numbers_V.is_infinite().fill_null(value=False)
    if num_bad := texts.count(bad_V):
        row, value = texts.first(bad_V, values_V)
        raise _no_number(texts.column.name, path, row, value, num_bad, len(texts.column))
    return texts.spread(numbers_V)


def _no_number(name: str, path: str, row: int, value: object, num_bad: int, rows: int) -> DataError:
    return DataError(
        f"{path}, data row {row + 1}: {name} must be a number, got {value!r}; {num_bad:,} of {rows:,} values are none: "
        "correct them, leave them empty, or set DatasetSettings.ratings = 'ignore'"
    )


def checked_event_types(column: pl.Series, *, path: str, report: DataReport) -> pl.Series:
    """Converts event types to categoricals without surrounding spaces. A missing type becomes null.

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
    types = DistinctTexts.from_column(column)
    return types.with_values(_without_marks(types, path, report))


def counted(types: pl.Series) -> pl.DataFrame:
    """Returns the names of event types (strings) and the `count` of their interactions, the most frequent one first.

    Args:
        types: Event types, as `checked_event_types` returns them; null is not counted.
    """
    counts = types.drop_nulls().value_counts().cast({EVENT_TYPE: pl.String})
    return counts.sort("count", EVENT_TYPE, descending=[True, False])


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
    names = counted(types)[EVENT_TYPE]
    if strange := sorted(set(settings.event_types) - set(names)):
        marks = [name for name in strange if name.strip().lower() in MISSING_TEXTS]
        reason = f" (texts such as {marks[0]!r} count as no type)" if marks else ""
        raise DataError(
            f"{path} must have the types of DatasetSettings.event_types, but {strange} are not in the column "
            f"{EVENT_TYPE}: it has {names.head(MAX_EVENT_TYPES).to_list()}{reason}"
        )


def _without_marks(texts: DistinctTexts, path: str, report: DataReport) -> pl.Series:
    """Replaces texts such as "NA" by null, and reports how many rows have them. Empty texts are not counted."""
    cleaned_V = without_missing(texts.values_V)
    is_mark_V = cleaned_V.is_null() & (texts.values_V.str.strip_chars() != "")
    if num_marks := texts.count(is_mark_V):
        _, mark = texts.first(is_mark_V, texts.values_V)
        report.note(f"{path}: {texts.column.name} is missing in {num_marks:,} rows that have texts such as {mark!r}")
    return cleaned_V
