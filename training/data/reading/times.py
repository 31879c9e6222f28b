"""Converts times of interactions to whole numbers that can be sorted."""

import re

import polars as pl

from rqrec.training.data.dataset import TIMESTAMP, DataError

# The year comes first; a zone may follow. Every other order of day, month and year needs a format.
ISO = r"^\d{4}[-/]\d{1,2}[-/]\d{1,2}([T ]\d{1,2}:\d{2}(:\d{2}([.,]\d+)?)?)?(Z|[+-]\d{2}:?\d{2})?$"
ZONE = r"(Z|\d[+-]\d{2}:?\d{2})$"
NAMED_UTC = r"\s*(UTC|GMT|z)$"
SPACE_BEFORE_ZONE = r"\s+([+-]\d{2}:?\d{2}|Z)$"
PARTS = r"^(\d{1,2})([/.-])(\d{1,2})[/.-](\d{4})(?:[ T,]+(\d{1,2}:\d{2})(:\d{2})?)?$"
MICROSECONDS = 1_000_000


def as_whole_numbers(time: pl.Series, *, path: str, timestamp_format: str = "") -> pl.Series:
    """Converts times to whole numbers, larger for later times. A missing time becomes null.

    Integers do not change. Other numbers are multiplied by 1,000,000, so that fractions of a second are kept. Dates and
    times become microseconds since 1970 in UTC.

    Args:
        time: The times: numbers, dates, datetimes, or text of one of these.
        path: Name of the file, for messages.
        timestamp_format: The format of times in text, as in `datetime.strptime`; empty for numbers and ISO 8601.

    Raises:
        DataError: If the column cannot hold times, a text is not a time, a text such as 01/02/2024 could mean two
            dates, or only some of the texts have a time zone.
    """
    dtype = time.dtype
    if dtype == pl.String:
        return _from_text(time, path, timestamp_format)
    if isinstance(dtype, pl.Decimal):
        time, dtype = time.cast(pl.Float64), pl.Float64()
    if dtype in (pl.Date, pl.Datetime):
        return time.cast(pl.Datetime("us")).cast(pl.Int64)
    if dtype.is_float():
        # Microseconds keep the fractions of a second; without them, interactions of one second would tie.
        finite = time.to_frame().select(pl.when(time.is_finite()).then(time))[time.name]
        return (finite * MICROSECONDS).cast(pl.Int64, strict=False)
    if dtype.is_integer():
        return time
    raise DataError(
        f"{path}: {TIMESTAMP} must be a number, a date or a time, got {dtype}: convert the column, or name another one "
        f"in DatasetSettings.columns"
    )


def _from_text(time: pl.Series, path: str, timestamp_format: str) -> pl.Series:
    text = time.str.strip_chars().replace("", None)
    if timestamp_format:
        zone = "UTC" if "%z" in timestamp_format else None
        parsed = text.str.to_datetime(timestamp_format, strict=False, time_unit="us", time_zone=zone)
        return _all_read(text, parsed, path, f"the format {timestamp_format!r} of DatasetSettings.timestamp_format")
    for number in (pl.Int64, pl.Float64):
        numbers = text.cast(number, strict=False)
        if numbers.null_count() == text.null_count():
            return as_whole_numbers(numbers, path=path)
    iso = text.str.replace(NAMED_UTC, "Z").str.replace(SPACE_BEFORE_ZONE, "$1")
    strange = ~iso.str.contains(ISO)
    if strange.any():
        raise _unreadable(text, strange, path)
    zoned_rows = iso.str.contains(ZONE)
    if zoned_rows.any() and not zoned_rows.all():
        row = (~zoned_rows).fill_null(value=False).arg_true()[0]
        raise DataError(
            f"{path}, data row {row + 1}: {TIMESTAMP} {text[row]!r} has no time zone, but others have one: write a "
            "zone in all rows, or in none"
        )
    iso = iso.str.replace_all("/", "-").str.replace(r"[T ](\d):", "T0$1:")
    parsed = iso.str.to_datetime(strict=False, time_unit="us", time_zone="UTC", ambiguous="earliest")
    return _all_read(text, parsed, path, "ISO 8601")


def _all_read(text: pl.Series, parsed: pl.Series, path: str, expected: str) -> pl.Series:
    wrong = (parsed.is_null() & text.is_not_null()).arg_true()
    if len(wrong):
        raise DataError(
            f"{path}, data row {wrong[0] + 1}: every interaction needs a valid {TIMESTAMP} of {expected}, got "
            f"{text[wrong[0]]!r} ({len(wrong)} such rows): correct them, or set DatasetSettings.timestamp_format"
        )
    return parsed.cast(pl.Datetime("us")).cast(pl.Int64)


def _unreadable(text: pl.Series, strange: pl.Series, path: str) -> DataError:
    row = strange.arg_true()[0]
    start = f"{path}, data row {row + 1}: every interaction needs a valid {TIMESTAMP}, got {text[row]!r}"
    parts = re.match(PARTS, text[row])
    if parts is None:
        return DataError(
            f"{start}, which is neither a number nor ISO 8601: correct it, set DatasetSettings.timestamp_format, such "
            "as '%d %b %Y %H:%M', or set DatasetSettings.times = 'ignore' to take the order of the rows"
        )
    mark = parts.group(2)
    clock = f" %H:%M{':%S' if parts.group(6) else ''}" if parts.group(5) else ""
    by_month, by_day = (f"{order}{clock}" for order in (f"%m{mark}%d{mark}%Y", f"%d{mark}%m{mark}%Y"))
    fields = text.str.extract_groups(PARTS).struct
    first, second = (fields[i].cast(pl.Int64, strict=False).max() for i in (0, 2))
    assert isinstance(first, int)
    assert isinstance(second, int)
    remedy = "set DatasetSettings.timestamp_format ="
    if first > 12 >= second:
        return DataError(f"{start}, whose format has the day first: {remedy} {by_day!r}")
    if second > 12 >= first:
        return DataError(f"{start}, whose format has the month first: {remedy} {by_month!r}")
    return DataError(
        f"{start}, whose format is ambiguous: {remedy} {by_month!r} if the month comes first, or {by_day!r} if the day "
        "does"
    )
