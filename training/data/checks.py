"""Checks raw tables: every item is listed once, and every interaction has a user, an item and a time."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import polars as pl

from rqrec.models.bundle.tables import CONTROL, MAX_ITEM_ID
from rqrec.training.data.compact.distinct_texts import DistinctTexts, encoded
from rqrec.training.data.dataset import (
    EVENT_TYPE,
    ITEM_ID,
    RATING,
    TEXTS_OF_LOG,
    TIMESTAMP,
    USER_ID,
    DataError,
    require_columns,
)
from rqrec.training.data.feedback.checks import checked_event_types, checked_ratings, require_types
from rqrec.training.data.reading.names import ignored_of_log
from rqrec.training.data.reading.times import as_whole_numbers, note_unlikely_times
from rqrec.training.data.report import DataReport
from rqrec.training.data.settings import DatasetSettings

EXAMPLES_SHOWN = 5
ROW = "data row"
MISSING_MARKS = ["na", "nan", "null", "none", "<na>", r"\n"]  # in lower case
MOST_MARKED, MANY = 0.05, 100  # share and number of the interactions above which NA is not the id of one user
MAX_WHOLE_FLOAT, MAX_WHOLE_FLOAT32 = 2**53, 2**24  # larger floats may have lost digits of an id


def checked_items(items: pl.DataFrame, settings: DatasetSettings, *, path: str, report: DataReport) -> pl.DataFrame:
    """Checks the items table, and returns it with ids as strings, in the order of the file.

    Args:
        items: Table with the column item_id and any attributes.
        settings: If `duplicates` is "drop", only the first row of each item is kept. With any other value, an item with
            several rows is a fault. If `missing_values` is "drop", rows without an id are dropped.
        path: Name of the items file, for messages.
        report: Receives a line for everything that was changed. It also collects the faults, which are raised later in
            one error (see `DataReport.all_faults`): ids that are missing, and items with several rows.

    Raises:
        DataError: If there are no items, or an id is too long or has control characters.
    """
    require_columns(items.columns, [ITEM_ID], path=path)
    if items.is_empty():
        raise DataError(f"{path} must hold at least one item, but it is empty: add items, or leave the file out")
    with _named(items[ITEM_ID], path):
        ids = _ids(items[ITEM_ID], settings, path, report).cast(pl.String)
    items = items.select(ids, pl.exclude(ITEM_ID))
    missing = ids.is_null().arg_true()
    if len(missing) and settings.missing_values == "drop":
        report.note(f"{path}: {len(missing)} of {len(items)} rows dropped, because they have no item_id")
    elif len(missing):
        report.refuse(
            f"{path}: every item needs an item_id, but {len(missing)} have none, the first in data row "
            f"{missing[0] + 1}: fill them in, or set DatasetSettings.missing_values = 'drop' to drop these rows"
        )
    items = items.drop_nulls(ITEM_ID)
    kept = items.unique(ITEM_ID, keep="first", maintain_order=True)
    if len(kept) == len(items):
        return items
    twice = items[ITEM_ID].filter(items[ITEM_ID].is_duplicated()).unique().sort()
    if settings.duplicates == "drop":
        report.note(
            f"{path}: {len(items) - len(kept)} rows dropped of items that are listed more than once, such as "
            f"{twice.head(EXAMPLES_SHOWN).to_list()}; {_num_other(items)} of these rows had other values than the "
            "first row of the item"
        )
    else:
        is_repeat = ids.is_not_null() & ~ids.is_first_distinct()
        report.refuse(
            f"{path}: every item_id must be listed once, but {len(twice)} are listed more often, such as "
            f"{twice.head(EXAMPLES_SHOWN).to_list()}; data row {is_repeat.arg_true()[0] + 1} is the first whose item "
            "was listed before: merge their rows, or set DatasetSettings.duplicates = 'drop' to keep the first"
        )
    return kept


def _num_other(items: pl.DataFrame) -> int:
    """Returns how many rows have other values than the first row of the same item."""
    hashes = pl.DataFrame({ITEM_ID: items[ITEM_ID], "hash": items.hash_rows()})
    first = hashes.unique(ITEM_ID, keep="first").rename({"hash": "first"})
    joined = hashes.join(first, on=ITEM_ID)
    return int((joined["hash"] != joined["first"]).sum())


def checked_interactions(
    interactions: pl.LazyFrame, settings: DatasetSettings, *, path: str, report: DataReport, may_be_empty: bool = False
) -> pl.DataFrame:
    """Checks the interactions table, and returns it with typed columns, in the order of the file.

    Args:
        interactions: Table with the columns user_id and item_id; optional columns are timestamp, rating, event_type.
        settings: The format of times; whether times, ratings and event types are used; and whether interactions without
            a user, an item or a time are dropped or are a fault.
        path: Name of the interactions file, for messages.
        report: Receives a line for everything that was changed or dropped. It also collects the faults, which are
            raised later in one error (see `DataReport.all_faults`): missing values, columns that cannot be read, and
            event types of the settings that are not in the file.
        may_be_empty: Whether there may be no interactions, or none with all values.

    Returns:
        Table with user_id, item_id (categoricals) and timestamp (integer; the row number if there are no times). If the
        data has ratings or event types, also rating (float64) and event_type (categorical), which may be null. A column
        that cannot be read is left out; `log_columns` says which ones are expected.

    Raises:
        DataError: If a column is missing, or there are no interactions.
    """
    present = interactions.collect_schema().names()
    require_columns(present, [USER_ID, ITEM_ID], path=path)
    names, ignored = log_columns(present, settings), ignored_of_log(settings)
    has_times = TIMESTAMP in present and TIMESTAMP not in ignored
    read = [name for name in names if has_times or name != TIMESTAMP]
    frame = encoded(interactions.select(read), TEXTS_OF_LOG).collect(engine="streaming")
    if not has_times:
        reason = "times are ignored" if TIMESTAMP in ignored else f"there is no column {TIMESTAMP}"
        report.note(f"{path}: {reason}, so the order of the rows is taken as the order in time")
        frame = frame.with_row_index(TIMESTAMP)
    if frame.is_empty() and not may_be_empty:
        raise DataError(f"{path} must hold at least one interaction, but it is empty: add interactions")
    report.rows_read = len(frame)
    columns = {}
    for name in names:
        column = frame.drop_in_place(name).rechunk()  # the parts of a file; the others still stand in `frame`
        with report.attempt(), _named(column, path):
            columns[name] = _checked(column, settings, path, report)
    if EVENT_TYPE in columns or EVENT_TYPE not in names:
        with report.attempt():
            require_types(columns.get(EVENT_TYPE), settings, path=path)
    return _without_missing(pl.DataFrame(columns), settings, path, report, may_be_empty=may_be_empty)


def log_columns(present: Sequence[str], settings: DatasetSettings) -> list[str]:
    """Returns the columns of checked interactions: user_id, item_id, timestamp, and rating and event_type if used.

    Args:
        present: The columns of the raw table.
        settings: Whether ratings and event types are used or ignored.
    """
    ignored = ignored_of_log(settings)
    optional = [name for name in (RATING, EVENT_TYPE) if name in present and name not in ignored]
    return [USER_ID, ITEM_ID, TIMESTAMP, *optional]


def _checked(column: pl.Series, settings: DatasetSettings, path: str, report: DataReport) -> pl.Series:
    if column.name == TIMESTAMP:
        times = as_whole_numbers(column, path=path, timestamp_format=settings.timestamp_format)
        note_unlikely_times(times, path=path, report=report)
        return times
    if column.name == RATING:
        return checked_ratings(column, path=path, report=report, decimal=settings.decimal)
    if column.name == EVENT_TYPE:
        return checked_event_types(column, path=path, report=report)
    return _ids(column, settings, path, report)


@contextmanager
def _named(column: pl.Series, path: str) -> Iterator[None]:
    """Converts an error of polars to a DataError that names the column."""
    try:
        yield
    except pl.exceptions.PolarsError as error:
        reason = str(error).splitlines()[0]
        raise DataError(f"{path}: unable to read column {column.name}: {reason}: convert the column") from error


def _without_missing(
    frame: pl.DataFrame, settings: DatasetSettings, path: str, report: DataReport, *, may_be_empty: bool
) -> pl.DataFrame:
    required = [name for name in (USER_ID, ITEM_ID, TIMESTAMP) if name in frame.columns]
    if not any(frame[name].null_count() for name in required):
        return frame
    rows, whole = len(frame), frame
    frame = frame.with_row_index(ROW, offset=1)
    dropping = [column for column in required if getattr(settings, _setting(column)) == "drop"]
    for column in dropping:
        present = frame.drop_nulls(column)
        if len(present) < len(frame):
            dropped = len(frame) - len(present)
            report.note(f"{path}: {dropped} of {rows} interactions dropped, because they have no {column}")
        frame = present
    if frame.is_empty() and not may_be_empty:
        raise DataError(f"{path} must have an interaction with {dropping}, but no row has all: fill the columns in")
    for column in required:
        missing = frame.filter(pl.col(column).is_null())[ROW]
        if len(missing):
            drop = (
                f", or set DatasetSettings.{_setting(column)} = 'drop' to drop such rows" if len(missing) < rows else ""
            )
            session = ", or name a column such as that of the session in DatasetSettings.columns"
            report.refuse(
                f"{path}: every interaction needs a valid {column}, but {len(missing)} have none; the first is data "
                f"row {missing[0]} of {rows}: fill it in{drop}{session if column == USER_ID else ''}"
            )
    return report.keep(whole, whole.select(pl.all_horizontal(pl.col(required).is_not_null())).to_series())


def _setting(column: str) -> str:
    """Returns the name of the setting that decides about rows without a value of a column."""
    return "missing_users" if column == USER_ID else "missing_values"


def _ids(column: pl.Series, settings: DatasetSettings, path: str, report: DataReport) -> pl.Series:
    """Returns ids as they are written, as categoricals, without spaces around them.

    An empty id is null, and so is an item's id with control characters if items without an id are dropped.
    """
    name = column.name
    if column.dtype.is_float():
        limit = MAX_WHOLE_FLOAT if column.dtype == pl.Float64 else MAX_WHOLE_FLOAT32
        column = column.fill_nan(None)
        is_whole = (column == column.floor()) & (column.abs() < limit)
        if not is_whole.all():
            row = (~is_whole).arg_true()[0]
            raise DataError(
                f"{path}, data row {row + 1}: {name} must hold ids as text or whole numbers, got {column.dtype} such "
                f"as {column[row]}: write them as text"
            )
        report.note(f"{path}: {name} holds {column.dtype} numbers, which are read as whole numbers")
        column = column.cast(pl.Int64)
    if column.dtype.is_nested() or column.dtype in (pl.Binary, pl.Object):
        raise DataError(
            f"{path}: {name} must hold ids as text or whole numbers, got {column.dtype}: convert the column"
        )
    ids = DistinctTexts.from_column(column)
    stripped_V = ids.values_V.str.strip_chars()
    trimmed = ids.count(stripped_V != ids.values_V)
    if trimmed:
        report.note(f"{path}: spaces around {trimmed} values of {name} were removed")
    is_mark_V = stripped_V.str.to_lowercase().is_in(MISSING_MARKS)
    if num_marks := ids.count(is_mark_V):
        _, mark = ids.first(is_mark_V, stripped_V)
        if name == USER_ID and num_marks > max(MOST_MARKED * len(column), MANY):
            report.note(f"{path}: {name} is {mark!r} in {num_marks} of {len(column)} rows, which counts as no user")
            stripped_V = stripped_V.zip_with(~is_mark_V, pl.Series([None], dtype=pl.String))
        else:
            report.note(
                f"{path}: {name} is {mark!r} in {num_marks} rows, which is read as an id: if it means that there is "
                "none, leave the field empty"
            )
    if name == ITEM_ID:
        stripped_V = _without_control(ids, stripped_V, settings, path, report)
    _check_lengths(ids, stripped_V, path)
    _warn_of_alike(name, stripped_V, path, report)
    return ids.with_values(stripped_V.replace("", None))


def _without_control(
    ids: DistinctTexts, values_V: pl.Series, settings: DatasetSettings, path: str, report: DataReport
) -> pl.Series:
    """Refuses ids of items with control characters, as the service does, or returns null for them."""
    unprintable_V = values_V.str.contains(CONTROL)
    count = ids.count(unprintable_V)
    if not count:
        return values_V
    row, value = ids.first(unprintable_V, values_V)
    what = f"{path}, data row {row + 1}: {ITEM_ID} must have no control characters, got {value[:40]!r}"
    if settings.missing_values != "drop":
        raise DataError(f"{what}: remove them, or set DatasetSettings.missing_values = 'drop' to drop such rows")
    report.note(f"{what} ({count} such rows, which count as rows without an {ITEM_ID})")
    return values_V.zip_with(~unprintable_V.fill_null(value=False), pl.Series([None], dtype=pl.String))


def _warn_of_alike(name: str, values_V: pl.Series, path: str, report: DataReport) -> None:
    """Warns of ids that look equal, and differ only in how Unicode composes their letters (NFC and NFD)."""
    other_V = values_V.filter(values_V.str.len_bytes() > values_V.str.len_chars()).unique(maintain_order=True)
    composed_V = other_V.str.normalize("NFC")
    alike = other_V.filter(composed_V.is_duplicated())
    if len(alike):
        report.note(
            f"WARNING: {path}: {len(alike)} values of {name}, such as {alike[0]!r}, look equal to another value and "
            "are read as different ones, because Unicode composes their letters otherwise (NFC and NFD): write all in "
            "one form"
        )


def _check_lengths(ids: DistinctTexts, values_V: pl.Series, path: str) -> None:
    """Refuses ids that are longer than the service allows."""
    name = ids.column.name
    too_long_V = (values_V.str.len_bytes() > MAX_ITEM_ID) & (values_V.str.len_chars() > MAX_ITEM_ID)
    if ids.count(too_long_V):
        row, value = ids.first(too_long_V, values_V)
        raise DataError(
            f"{path}, data row {row + 1}: {name} must have at most {MAX_ITEM_ID} characters, got "
            f"{len(value)} ({value[:40]!r} …): shorten the ids, or name another column in DatasetSettings.columns"
        )
