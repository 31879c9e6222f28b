import re
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import polars as pl
import pytest

from rqrec.training.data.dataset import DataError
from rqrec.training.data.reading.times import as_whole_numbers, note_unlikely_times
from rqrec.training.data.report import DataReport


def read(values: list[Any], timestamp_format: str = "") -> list[int | None]:
    return as_whole_numbers(pl.Series("timestamp", values), path="log.csv", timestamp_format=timestamp_format).to_list()


def microseconds(*parts: int) -> int:
    year, month, day, hour, minute = parts
    return int(datetime(year, month, day, hour, minute, tzinfo=UTC).timestamp()) * 1_000_000


TEN = microseconds(2024, 1, 5, 10, 0)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2024-01-05T10:00:00Z", TEN),
        ("2024-01-05T10:00:00.5Z", TEN + 500_000),
        ("2024-01-05T12:00:00+02:00", TEN),
        ("2024-01-05 12:00:00 +0200", TEN),
        ("2024-01-05 10:00:00 UTC", TEN),
        ("2024-01-05 10:00:00+00", TEN),
        ("2024-01-05 12:00:00.000 +02", TEN),
        ("2024-01-05 05:00-05", TEN),
        ("2024-01-05T10:00:00,5", TEN + 500_000),
        ("2024-01-05 10:00:00 +0000 UTC", TEN),
        ("2024-01-05 11:00:00.5 +0100 CET", TEN + 500_000),
        ("2024-01-05 10:00:00", TEN),
        ("2024/01/05 10:00", TEN),
        (" 2024-1-5 10:00 ", TEN),
        ("2024-01-05", microseconds(2024, 1, 5, 0, 0)),
        ("17", 17),
        ("1.5", 1_500_000),
        ("1e3", 1_000_000_000),
    ],
)
def test_text_is_a_number_or_iso_8601(text: str, expected: int) -> None:
    assert read([text]) == [expected]


def test_offsets_are_respected() -> None:
    assert read(["2024-01-05T10:00:00+02:00", "2024-01-05T09:00:00Z"]) == [TEN - 2 * 3_600_000_000, TEN - 3_600_000_000]


def test_dates_and_times_with_a_zone_are_microseconds_in_utc() -> None:
    assert read([date(2024, 1, 5)]) == [microseconds(2024, 1, 5, 0, 0)]
    berlin = pl.Series("timestamp", [datetime(2024, 1, 5, 11)]).dt.replace_time_zone("Europe/Berlin")
    assert as_whole_numbers(berlin, path="log.parquet").to_list() == [TEN]


def test_missing_times_are_null() -> None:
    assert read(["", None, "5"]) == [None, None, 5]
    assert read([float("nan"), 1e300, 2.0]) == [None, None, 2_000_000]


@pytest.mark.parametrize(
    ("value", "dtype"),
    [
        (2**63, pl.UInt64),
        (2**63, pl.Int128),
        (2**63 - 1, pl.Datetime("ms")),  # polars panics if such a value is converted strictly
        (-(2**63), pl.Datetime("ms")),
        (2**31 - 1, pl.Date),
    ],
)
def test_times_that_int64_cannot_hold_are_null(value: int, dtype: pl.DataType) -> None:
    physical = pl.Int32 if dtype == pl.Date else pl.Int64 if dtype == pl.Datetime else dtype
    times = pl.Series("timestamp", [1, value], dtype=physical).cast(dtype)
    read_times = as_whole_numbers(times, path="log.parquet")
    assert read_times.null_count() == 1
    assert read_times.dtype == pl.Int64
    assert read_times[0] > 0


def test_numbers_too_large_for_fractions_are_read_as_whole_numbers() -> None:
    assert read([1.7e15, float("nan"), 1.8e15]) == [1_700_000_000_000_000, None, 1_800_000_000_000_000]
    assert read([1.7e18]) == [1_700_000_000_000_000_000]
    assert read(["1.7e18", ""]) == [1_700_000_000_000_000_000, None]
    assert read([Decimal(1_700_000_000_000_000_001)]) == [1_700_000_000_000_000_001]
    assert read([Decimal("1700000000.5")]) == [1_700_000_000_500_000]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            ["1/2/2011 8:26", "12/1/2010 8:26"],
            "row 1: .* whose format is ambiguous: .*'%m/%d/%Y %H:%M' if",
        ),
        (
            ["1/2/2011", "13/2/2011"],
            "the day first: set DatasetSettings.timestamp_format = '%d/%m/%Y'",
        ),
        (
            ["03.01.24", "31.01.24 "],
            r"the day first: set DatasetSettings.timestamp_format = '%d.%m.%y' \(if the year is",
        ),
        (["03/31/24 8:26"], r"the month first: set DatasetSettings.timestamp_format = '%m/%d/%y %H:%M' \(if"),
        (["99-03-31"], "the year first: set DatasetSettings.timestamp_format = '%y-%m-%d'"),
        (
            ["1/1/2024", "31/01/2024", "01/31/2024"],
            r"the column mixes the day first, such as '31/01/2024' \(data row 2\), and the month first, such as "
            r"'01/31/2024' \(data row 3\): write all in one format",
        ),
        (["1700000000", "1700000001", "oops"], r"data row 3: .* got 'oops', but others are numbers \(1 such rows\)"),
        (["١٢/١/٢٠١٠"], "row 1: .* got '١٢/١/٢٠١٠', which is neither a number nor ISO 8601"),
        (["٢٠١٠-01-01"], "row 1: .* which is neither a number nor ISO 8601"),
        (["1.13.2011 8:26:00"], "the month first: set DatasetSettings.timestamp_format = '%m.%d.%Y %H:%M:%S'"),
        (["2024-01-05", "5 Jan 2024"], "row 2: .* got '5 Jan 2024', which is neither a number nor ISO 8601"),
        (["2024-01-05", "1704412800"], r"row 2: timestamp '1704412800' is a number, but others are dates .1 such"),
        (["2024-13-01"], "row 1: every interaction needs a valid timestamp of ISO 8601, got '2024-13-01'"),
        (["2024-01-05T10:00:00Z", "2024-01-05T10:00:00"], "row 2: .* has no time zone, but others have one"),
        ([True], "log.csv: timestamp must be a number, a date or a time, got Boolean"),
    ],
)
def test_refuses_what_could_be_misread(values: list[Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        read(values)


def test_a_given_format_is_read_and_every_row_must_have_it() -> None:
    assert read(["1/5/2024 10:00"], "%m/%d/%Y %H:%M") == [TEN]
    assert read(["1/5/2024 12:00 +0200"], "%m/%d/%Y %H:%M %z") == [TEN]
    assert read(["1/5/2024 10:00:00.5", "1/5/2024 10:00:00.25"], "%m/%d/%Y %H:%M:%S.%f") == [
        TEN + 500_000,
        TEN + 250_000,
    ]
    assert read(["1/5/2024 10:00+00", "1/5/2024 12:00+02:00"], "%m/%d/%Y %H:%M%z") == [TEN, TEN]
    for wrong in ("%m/%d/%Y %H:%M:%S,%f", "%m/%d/%Y %Z"):
        with pytest.raises(DataError, match="timestamp_format must have a point before %f, and no %Z, got"):
            read(["1/5/2024"], wrong)
    with pytest.raises(DataError, match=r"timestamp_format = '%Y-%m-%d %H' cannot be used: [^\n]*: correct it$"):
        read(["2024-01-05 10"], "%Y-%m-%d %H")
    with pytest.raises(DataError, match=r"data row 2: .* of the format '%m/%d/%Y' .*, got '13/5/2024' \(1 such rows\)"):
        read(["1/5/2024", "13/5/2024"], "%m/%d/%Y")


@pytest.mark.parametrize(
    ("times", "said"),
    [
        ([1_700_000_000, 1_700_000_001, 1_700_000_002_000], "1 of 3 times .* the year 558.. .data row 3"),
        ([1_700_000_000_000, 1_700_000_000, 1_700_000_000_001], "1 of 3 times .* the year 1970 .data row 2"),
        ([20240131100000, 20240131110000], "2 of 2 times .* the year 2611 .data row 1.: .*'%Y%m%d%H%M%S'"),
        ([1_700_000_000.0, 0.0, 1_700_000_001.5], "1 of 3 times .* the year 1970"),
        (["2024-01-05", "9999-12-31", "2024-01-06"], "1 of 3 times .* the year 9999"),
    ],
)
def test_times_of_several_units_or_far_from_now_are_warned_of(times: list[Any], said: str) -> None:
    report = DataReport()
    read_times = as_whole_numbers(pl.Series("timestamp", times), path="log.csv")
    note_unlikely_times(read_times, path="log.csv", report=report)
    assert [re.search(said, line) is not None for line in report.lines] == [True]


@pytest.mark.parametrize("times", [[1, 2, 3], [], [881_250_949, 1_700_000_000], [20240131, 19990101], ["1975-01-01"]])
def test_usual_times_and_other_numbers_are_not(times: list[Any]) -> None:
    report = DataReport()
    read_times = as_whole_numbers(pl.Series("timestamp", times, dtype=None if times else pl.Int64), path="log.csv")
    note_unlikely_times(read_times, path="log.csv", report=report)
    assert report.lines == []


@pytest.mark.parametrize("dtype", [pl.Int32(), pl.UInt32(), pl.UInt64()])
def test_times_of_every_type_of_whole_numbers_are_looked_at(dtype: pl.DataType) -> None:
    report = DataReport()
    note_unlikely_times(pl.Series([1_700_000_000, 1_700_000_001, 5], dtype=dtype), path="log.parquet", report=report)
    assert "1 of 3 times" in report.lines[0]
