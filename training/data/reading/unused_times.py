"""Warns if interactions are read without times, although a column that is not read looks like times."""

import re
from collections.abc import Mapping
from pathlib import Path

import polars as pl

from rqrec.training.data.dataset import TIMESTAMP, DataError
from rqrec.training.data.reading.formats import collect
from rqrec.training.data.reading.names import columns_option
from rqrec.training.data.reading.nested import exactly, select_paths
from rqrec.training.data.reading.times import PARTS, as_whole_numbers
from rqrec.training.data.report import DataReport
from rqrec.training.data.settings import DatasetSettings
from rqrec.training.data.splitting.time_unit import SECONDS_A_DAY, ticks_per_second

ROWS_LOOKED_AT = 2000
NAME_OF_TIMES = r"(?i)time|date"
CLOCK = r"^\d{1,2}:\d{2}(:\d{2}([.,]\d+)?)?$"  # without a day, it orders nothing
LONGEST_TIME = 40  # characters
FIRST_YEAR, LAST_YEAR = 1990, 2100  # of numbers that count as times


def warn_of_unused_times(
    frame: pl.LazyFrame, unused: Mapping[str, str], path: Path, settings: DatasetSettings, report: DataReport
) -> None:
    """Adds a warning to the report if a column that is not read looks like the times of the interactions.

    Call it if no column was found to be the timestamp. Training then takes the order of the rows as the order in time.
    This is wrong if the file has times in a column that training does not know.

    Args:
        frame: The interactions, a lazy table. Only the first 2,000 rows are read.
        unused: The columns that are not read: for each name to show to the user, the path of the column in `frame`.
            The warning names the first column that looks like times.
        path: The interactions file, for messages.
        settings: The names of columns and the format of times.
        report: Receives the warning.
    """
    schema = frame.collect_schema()
    roots = dict.fromkeys(column if column in schema else column.partition(".")[0] for column in unused.values())
    first = collect(frame.select(pl.col(exactly(root)) for root in roots).head(ROWS_LOOKED_AT), path, settings)
    for name, column in unused.items():
        values = select_paths(first.lazy(), {name: column}).collect().to_series()
        if looks_like_times(values, settings.timestamp_format):
            report.note(
                f"WARNING: {path.name}: no column is read as {TIMESTAMP}, but {name!r} looks like times: if it has the "
                f"times of the interactions, use it by {columns_option(settings.columns, {TIMESTAMP: name})}"
            )
            return


def looks_like_times(values: pl.Series, timestamp_format: str = "") -> bool:
    """Returns whether a column probably holds times. Numbers count only if the column's name contains time or date.

    Args:
        values: Some values of the column. The name of the series is the name of the column.
        timestamp_format: The format of times in text, as in `datetime.strptime`; empty if it is not set.
    """
    present = values.drop_nulls()
    if present.dtype == pl.String:
        text = present.str.strip_chars()
        return _is_text_of_times(text.filter(text != ""), timestamp_format)
    if present.dtype.is_numeric():
        return _are_numbers_of_times(present.cast(pl.Float64))
    return len(present) > 0 and present.dtype in (pl.Date, pl.Datetime)


def _is_text_of_times(text: pl.Series, timestamp_format: str) -> bool:
    if not len(text):
        return False
    try:
        as_whole_numbers(text, path="", timestamp_format=timestamp_format)
        is_read = True
    except DataError:
        is_read = False
    numbers = text.cast(pl.Float64, strict=False)
    if not numbers.null_count() and not (timestamp_format and is_read):
        return _are_numbers_of_times(numbers)
    if is_read or text.str.contains(PARTS).all():
        return True
    is_short = text.str.len_chars() <= LONGEST_TIME
    return _is_named(text) and bool((is_short & text.str.contains(r"\d") & ~text.str.contains(CLOCK)).all())


def _are_numbers_of_times(numbers: pl.Series) -> bool:
    """Returns whether numbers count since 1970, or are days such as 20240131."""
    whole = numbers.filter(numbers.is_finite()).cast(pl.Int64, strict=False).drop_nulls()
    if not len(whole) or not _is_named(numbers):
        return False
    ticks = ticks_per_second(whole.to_numpy())
    if ticks is None:
        days = whole.cast(pl.String)
        is_day = (days.str.len_chars() == 8) & days.str.to_date("%Y%m%d", strict=False).is_not_null()
        return bool((is_day & (whole // 10_000).is_between(FIRST_YEAR, LAST_YEAR)).all())
    years = 1970 + whole / (ticks * SECONDS_A_DAY * 365.25)
    return bool(years.is_between(FIRST_YEAR, LAST_YEAR).all())


def _is_named(values: pl.Series) -> bool:
    return re.search(NAME_OF_TIMES, values.name) is not None
