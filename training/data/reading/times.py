"""Converts times of interactions to whole numbers that can be sorted."""

import re

import polars as pl

from rqrec.models.errors import first_line
from rqrec.training.data.dataset import TIMESTAMP, DataError
from rqrec.training.data.report import DataReport
from rqrec.training.data.splitting.time_unit import SECONDS_A_DAY, ticks_per_second

# The year comes first; a zone may follow. Every other order of day, month and year needs a format. Polars and Python
# would match digits of other alphabets by \d.
ISO = (
    r"^[0-9]{4}[-/][0-9]{1,2}[-/][0-9]{1,2}([T ][0-9]{1,2}:[0-9]{2}(:[0-9]{2}([.,][0-9]+)?)?)?"
    r"(Z|[+-][0-9]{2}:?[0-9]{2})?$"
)
ZONE = r"(Z|[0-9][+-][0-9]{2}:?[0-9]{2})$"
NAME_AFTER_ZONE = r"([+-][0-9]{2}:?[0-9]{2})\s+[A-Z]{2,5}$"  # Go writes `+0000 UTC`
NAMED_UTC = r"\s*(UTC|GMT|z)$"
SPACE_BEFORE_ZONE = r"\s+([+-][0-9]{2}(?::?[0-9]{2})?|Z)$"
ZONE_OF_HOURS = r"(:[0-9]{2}(?:[.,][0-9]+)?[+-][0-9]{2})$"  # Postgres writes `+00`
DAY_AND_MONTH, CLOCK = r"^([0-9]{1,2})([/.-])([0-9]{1,2})[/.-]", r"(?:[ T,]+([0-9]{1,2}:[0-9]{2})(:[0-9]{2})?)?$"
PARTS = f"{DAY_AND_MONTH}([0-9]{{4}}){CLOCK}"
PARTS_OR_SHORT_YEAR = f"{DAY_AND_MONTH}([0-9]{{4}}|[0-9]{{2}}){CLOCK}"
MONTHS, DAYS = 12, 31
MICROSECONDS = 1_000_000
MAX_SECONDS = 2**63 / MICROSECONDS
FIRST_YEAR, LAST_YEAR = 1973, 2100  # of times that are not strange
DAYS_A_YEAR = 365.25


def as_whole_numbers(time: pl.Series, *, path: str, timestamp_format: str = "") -> pl.Series:
    """Converts times to whole numbers, larger for later times. A missing time becomes null.

    Integers do not change. Other numbers are multiplied by 1,000,000, so that fractions of a second are kept; if they
    are too large for that, they lose their fractions. Dates and times become microseconds since 1970 in UTC. Numbers,
    dates and times that int64 cannot hold become null.

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
        time = time.cast(pl.Float64 if dtype.scale else pl.Int64)
        dtype = time.dtype
    if dtype in (pl.Date, pl.Datetime):
        return time.cast(pl.Datetime("us"), strict=False).cast(pl.Int64)
    if dtype.is_float():
        # Microseconds keep the fractions of a second; without them, interactions of one second would tie.
        finite = time.to_frame().select(pl.when(time.is_finite()).then(time))[time.name]
        is_fine = ((finite.abs() >= MAX_SECONDS) & (finite.abs() < MAX_SECONDS * MICROSECONDS)).any()
        return (finite if is_fine else finite * MICROSECONDS).cast(pl.Int64, strict=False)
    if dtype.is_integer():
        return time.cast(pl.Int64, strict=False) if dtype in (pl.UInt64, pl.Int128, pl.UInt128) else time
    raise DataError(
        f"{path}: {TIMESTAMP} must be a number, a date or a time, got {dtype}: convert the column, or name another one "
        f"in DatasetSettings.columns"
    )


def note_unlikely_times(times: pl.Series, *, path: str, report: DataReport) -> None:
    """Warns of times before 1973 or after 2100, as they come from two units in one column or from digits of a date.

    Args:
        times: The times as whole numbers, from `as_whole_numbers`. Numbers that do not count since 1970 are ignored.
        path: Name of the file, for the warning.
        report: Receives the warning.
    """
    times = times.cast(pl.Int64, strict=False)
    ticks = ticks_per_second(times.drop_nulls().to_numpy())
    if ticks is None:
        return
    ticks_a_year = int(ticks * SECONDS_A_DAY * DAYS_A_YEAR)
    first, last = ((year - 1970) * ticks_a_year for year in (FIRST_YEAR, LAST_YEAR))
    strange = (~times.is_between(first, last)).arg_true()
    if len(strange):
        year = 1970 + times[strange[0]] // ticks_a_year
        report.note(
            f"WARNING: {path}: {len(strange)} of {len(times)} times are read as before {FIRST_YEAR} or after "
            f"{LAST_YEAR}, the first as of the year {year} (data row {strange[0] + 1}): give all "
            "times one unit, such as seconds since 1970, or set DatasetSettings.timestamp_format, such as "
            "'%Y%m%d%H%M%S'"
        )


def _from_text(time: pl.Series, path: str, timestamp_format: str) -> pl.Series:
    text = time.str.strip_chars().replace("", None)
    if timestamp_format:
        parsed = _with_format(text, timestamp_format)
        return _all_read(text, parsed, path, f"the format {timestamp_format!r} of DatasetSettings.timestamp_format")
    numbers = text.cast(pl.Int64, strict=False)
    if numbers.null_count() > text.null_count():
        numbers = text.cast(pl.Float64, strict=False)
    if numbers.null_count() == text.null_count():
        return as_whole_numbers(numbers, path=path)
    iso = text.str.replace(NAME_AFTER_ZONE, "$1").str.replace(NAMED_UTC, "Z").str.replace(SPACE_BEFORE_ZONE, "$1")
    iso = iso.str.replace(ZONE_OF_HOURS, "${1}:00")
    strange, no_number = ~iso.str.contains(ISO), numbers.is_null() & text.is_not_null()
    if no_number.sum() < strange.sum():
        row = no_number.arg_true()[0]
        raise DataError(
            f"{path}, data row {row + 1}: every interaction needs a valid {TIMESTAMP}, got {text[row]!r}, but others "
            f"are numbers ({no_number.sum()} such rows): correct them, or remove the rows"
        )
    if strange.any():
        if (number_rows := strange & numbers.is_not_null()).any() and not strange.all():
            row = number_rows.arg_true()[0]
            raise DataError(
                f"{path}, data row {row + 1}: {TIMESTAMP} {text[row]!r} is a number, but others are dates "
                f"({number_rows.sum()} such rows): write all in one form"
            )
        raise _unreadable(text, strange, path)
    zoned_rows = iso.str.contains(ZONE)
    if zoned_rows.any() and not zoned_rows.all():
        row = (~zoned_rows).fill_null(value=False).arg_true()[0]
        raise DataError(
            f"{path}, data row {row + 1}: {TIMESTAMP} {text[row]!r} has no time zone, but others have one: write a "
            "zone in all rows, or in none"
        )
    iso = iso.str.replace_all("/", "-").str.replace(r"[T ]([0-9]):", "T0$1:").str.replace(",", ".", literal=True)
    parsed = iso.str.to_datetime(strict=False, time_unit="us", time_zone="UTC", ambiguous="earliest")
    return _all_read(text, parsed, path, "ISO 8601")


def _with_format(text: pl.Series, timestamp_format: str) -> pl.Series:
    """Reads times in a format of `datetime.strptime`; null for a text that has another format.

    Polars writes `%.f` instead of `.%f`, and `%#z` instead of `%z` if zones such as `+00` are allowed.
    """
    directives = re.findall(r"%%|\.?%f|%Z", timestamp_format)
    if "%f" in directives or "%Z" in directives:
        raise DataError(
            f"DatasetSettings.timestamp_format must have a point before %f, and no %Z, got {timestamp_format!r}: write "
            "'.%f', and instead of %Z the name of the zone if all rows have the same, or '%z' for zones such as +0100"
        )
    polars_words = {".%f": "%.f", "%z": "%#z"}
    form = re.sub(r"%%|\.%f|%z", lambda match: polars_words.get(match.group(), match.group()), timestamp_format)
    zone = "UTC" if re.search("%[#:]?z", form) else None
    try:
        return text.str.to_datetime(form, strict=False, time_unit="us", time_zone=zone)
    except pl.exceptions.PolarsError as error:
        raise DataError(
            f"DatasetSettings.timestamp_format = {timestamp_format!r} cannot be used: {first_line(error)}: correct it"
        ) from error


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
    parts = re.match(PARTS_OR_SHORT_YEAR, text[row])
    if parts is None:
        return DataError(
            f"{start}, which is neither a number nor ISO 8601: correct it, set DatasetSettings.timestamp_format, such "
            "as '%d %b %Y %H:%M', or set DatasetSettings.times = 'ignore' to take the order of the rows"
        )
    mark, is_short = parts.group(2), len(parts.group(4)) == len("24")
    clock = f" %H:%M{':%S' if parts.group(6) else ''}" if parts.group(5) else ""
    by_month, by_day, by_year = (
        repr(mark.join(f"%{letter}" for letter in order) + clock)
        for order in (("mdy", "dmy", "ymd") if is_short else ("mdY", "dmY", "Ymd"))
    )
    fields = text.str.extract_groups(PARTS_OR_SHORT_YEAR).struct
    first, second = (fields[i].cast(pl.Int64, strict=False) for i in (0, 2))
    late_first, late_second = (first > MONTHS).arg_true(), (second > MONTHS).arg_true()
    remedy = "set DatasetSettings.timestamp_format ="
    if is_short and (first > DAYS).any():
        return DataError(f"{start}, whose format has the year first: {remedy} {by_year}")
    if len(late_first) and len(late_second):
        return DataError(
            f"{start}, but the column mixes the day first, such as {text[late_first[0]]!r} (data row "
            f"{late_first[0] + 1}), and the month first, such as {text[late_second[0]]!r} (data row "
            f"{late_second[0] + 1}): write all in one format"
        )
    last = " (if the year is last)" if is_short else ""
    if len(late_first):
        return DataError(f"{start}, whose format has the day first: {remedy} {by_day}{last}")
    if len(late_second):
        return DataError(f"{start}, whose format has the month first: {remedy} {by_month}{last}")
    return DataError(
        f"{start}, whose format is ambiguous: {remedy} {by_month} if the month comes first, or {by_day} if the day does"
    )
