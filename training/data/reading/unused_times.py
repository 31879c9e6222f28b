"""Warns if interactions are read without times, although a column that is not read looks like times."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import polars as pl

from rqrec.training.data.dataset import TIMESTAMP, DataError
from rqrec.training.data.reading.formats import collect
from rqrec.training.data.reading.names import columns_option
from rqrec.training.data.reading.nested import exactly, leaf_paths
from rqrec.training.data.reading.times import PARTS, as_whole_numbers
from rqrec.training.data.report import DataReport
from rqrec.training.data.settings import DatasetSettings
from rqrec.training.data.splitting.time_unit import SECONDS_A_DAY, ticks_per_second

ROWS_LOOKED_AT = 2000
VALUES = "values"  # a plain name, because polars reads names such as "*" as patterns
NAME_OF_TIMES = r"(?i)time|date"
CLOCK = r"^[0-9]{1,2}:[0-9]{2}(:[0-9]{2}([.,][0-9]+)?)?$"  # without a day, it orders nothing
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
    names = {column: name for name, column in unused.items()}
    schema = frame.collect_schema()
    roots = [root for root, dtype in schema.items() if not names.keys().isdisjoint(leaf_paths({root: dtype}))]
    first = collect(frame.select(pl.col(exactly(root)) for root in roots).head(ROWS_LOOKED_AT), path, settings)
    for column, values in (leaf for root in first for leaf in _leaves(root, root.name)):
        if column in names and looks_like_times(values.alias(names[column]), settings.timestamp_format):
            name = names[column]
            report.note(
                f"WARNING: {path.name}: no column is read as {TIMESTAMP}, but {name!r} looks like times: if it has the "
                f"times of the interactions, use it by {columns_option(settings.columns, {TIMESTAMP: name})}"
            )
            return


def _leaves(values: pl.Series, path: str) -> Iterator[tuple[str, pl.Series]]:
    """Yields the values of a column with their path, or those of each field if the column holds objects."""
    values = values.alias(VALUES)
    if isinstance(values.dtype, pl.List) and isinstance(values.dtype.inner, pl.Struct):
        values = values.explode(empty_as_null=False, keep_nulls=False)
    if not isinstance(values.dtype, pl.Struct):
        yield path, values
        return
    for field in values.struct.unnest():
        yield from _leaves(field, f"{path}.{field.name}")


def looks_like_times(values: pl.Series, timestamp_format: str = "") -> bool:
    """Returns whether a column probably holds times. Numbers count only if the column's name contains time or date.

    Args:
        values: Some values of the column. The name of the series is the name of the column.
        timestamp_format: The format of times in text, as in `datetime.strptime`; empty if it is not set.
    """
    is_named = re.search(NAME_OF_TIMES, values.name) is not None
    present = values.alias(VALUES).drop_nulls()
    if present.dtype == pl.String:
        text = present.str.strip_chars()
        return _is_text_of_times(text.filter(text != ""), timestamp_format, is_named=is_named)
    if present.dtype.is_numeric():
        return is_named and _are_numbers_of_times(present.cast(pl.Float64))
    return len(present) > 0 and present.dtype in (pl.Date, pl.Datetime)


def _is_text_of_times(text: pl.Series, timestamp_format: str, *, is_named: bool) -> bool:
    if not len(text):
        return False
    try:
        as_whole_numbers(text, path="", timestamp_format=timestamp_format)
        is_read = True
    except DataError:
        is_read = False
    numbers = text.cast(pl.Float64, strict=False)
    if not numbers.null_count() and not (timestamp_format and is_read):
        return is_named and _are_numbers_of_times(numbers)
    if is_read or text.str.contains(PARTS).all():
        return True
    is_short = text.str.len_chars() <= LONGEST_TIME
    return is_named and bool((is_short & text.str.contains(r"\d") & ~text.str.contains(CLOCK)).all())


def _are_numbers_of_times(numbers: pl.Series) -> bool:
    """Returns whether numbers count since 1970, or are days such as 20240131."""
    whole = numbers.filter(numbers.is_finite()).cast(pl.Int64, strict=False).drop_nulls()
    if not len(whole):
        return False
    ticks = ticks_per_second(whole.to_numpy())
    if ticks is None:
        days = whole.cast(pl.String)
        is_day = (days.str.len_chars() == 8) & days.str.to_date("%Y%m%d", strict=False).is_not_null()
        return bool((is_day & (whole // 10_000).is_between(FIRST_YEAR, LAST_YEAR)).all())
    years = 1970 + whole / (ticks * SECONDS_A_DAY * 365.25)
    return bool(years.is_between(FIRST_YEAR, LAST_YEAR).all())
