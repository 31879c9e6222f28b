import re
from collections.abc import Sequence
from typing import Any

import polars as pl
import pytest

from rqrec.training.data.build import build_dataset
from rqrec.training.data.dataset import DataError
from rqrec.training.data.report import DataReport
from rqrec.training.data.settings import DatasetSettings

ITEMS = pl.DataFrame({"item_id": ["a", "b"]})
NAMES = ["user_id", "item_id", "timestamp", "event_type"]


def log_of(rows: Sequence[tuple[object, ...]], names: Sequence[str] = NAMES) -> pl.LazyFrame:
    return pl.LazyFrame(rows, schema=names[: len(rows[0])], orient="row")


def faults_of(log: pl.LazyFrame, items: pl.DataFrame | None = ITEMS, **settings: Any) -> list[str]:
    with pytest.raises(DataError) as raised:
        build_dataset("t", log, items, DatasetSettings(**settings), log="log.csv", catalogue="items.csv")
    text = str(raised.value)
    return text.split("\n- ")[1:] or [text]


def assert_faults(faults: Sequence[str], patterns: Sequence[str]) -> None:
    assert len(faults) == len(patterns), faults
    for fault, pattern in zip(faults, patterns, strict=True):
        assert re.search(pattern, fault)


def test_rows_without_ids_or_times_are_the_only_fault_of_a_log_without_other_rows() -> None:
    assert_faults(
        faults_of(log_of([("", "a", 1), (None, "b", 2)])), ["a valid user_id, but 2 .*: fill it in, or name a"]
    )
    assert_faults(faults_of(log_of([("u", "a", float("nan"))])), ["a valid timestamp, but 1 have none"])


def test_rows_with_faults_may_be_the_ones_that_are_no_dislikes() -> None:
    assert_faults(faults_of(log_of([("", "a", 1, "buy"), ("u", "b", 2, "dislike")])), ["a valid user_id"])


def test_a_log_of_types_that_are_not_read_says_so() -> None:
    views = log_of([("u", "a", 1, "view"), ("u", "b", 2, "view")])
    assert_faults(faults_of(views, event_types={"view": "exclude"}), ["all 2 have an event type that is ignored or"])
    mixed = log_of([("u", "a", 1, "view"), ("u", "b", 2, "return")])
    pattern = r"all 1 are dislikes or have the weight 0 \(1 whose event type is ignored or only excludes"
    assert_faults(faults_of(mixed, event_types={"view": "ignore"}), [pattern])


def test_items_without_ids_do_not_make_the_items_of_the_log_unknown() -> None:
    assert_faults(faults_of(log_of([("u", "a", 1)]), pl.DataFrame({"item_id": ["", None]})), ["2 have none"])


@pytest.mark.parametrize("column", ["rating", "event_type"])
def test_rows_are_no_duplicates_if_the_column_that_may_tell_them_apart_is_unreadable(column: str) -> None:
    log = log_of([("u", "a", 1), ("u", "a", 1)]).with_columns(pl.Series(column, [[1], [2]]))
    assert_faults(faults_of(log), [f"column '{column}' must hold"])


def test_types_of_the_settings_may_be_in_rows_that_are_dropped() -> None:
    log = log_of([(None, "a", 1, "buy"), ("u", "b", 2, "view"), ("u", "a", 3, "view")])
    assert_faults(faults_of(log, event_types={"buy": 2}), ["a valid user_id, but 1 have none"])
    build_dataset("t", log, ITEMS, DatasetSettings(event_types={"buy": 2}, missing_users="drop"))


def test_types_of_an_unreadable_column_are_not_looked_for() -> None:
    log = log_of([("u", "a", 1)]).with_columns(pl.Series("event_type", [["buy"]]))
    assert_faults(faults_of(log, event_types={"buy": 2}), ["must hold text, got List"])


@pytest.mark.parametrize("item_id", ["a" * 257, "a\x01", 1.5])
def test_an_id_that_cannot_be_used_hides_no_fault_of_times_and_items(item_id: object) -> None:
    items = pl.DataFrame({"item_id": ["a", "a"]})
    faults = faults_of(log_of([("u", item_id, "yesterday")]), items)
    assert_faults(faults, ["item_id must h", "valid timestamp, got 'yesterday'", "every item_id must be listed once"])


def test_a_bad_attribute_hides_no_fault_of_the_interactions() -> None:
    items = pl.DataFrame({"item_id": ["a", "b"], "image": [b"1", b"2"]})
    faults = faults_of(log_of([("u", "a", 1), ("u", "a", 1), ("u", "z", 2)]), items)
    assert_faults(faults, ["column 'image' must hold strings", "must be distinct", r"such as \['z'\]"])


def test_empty_tables_are_both_named() -> None:
    empty = pl.DataFrame(schema=dict.fromkeys(NAMES, pl.String))
    faults = faults_of(empty.lazy(), empty)
    assert_faults(faults, ["log.csv must hold at least one interaction", "items.csv must hold at least one item"])


def test_the_error_of_duplicates_counts_what_dropping_them_drops_and_names_the_type() -> None:
    log = log_of([("u", "a", 1, "view")] * 3 + [("u", "a", 1, "buy")])
    pattern = r"user_id, item_id, timestamp and type \(of the event .* but 2 are equal to an earlier one.*these 2\)"
    assert_faults(faults_of(log), [pattern])
    report = DataReport()
    build_dataset("t", log, ITEMS, DatasetSettings(duplicates="drop"), report=report)
    assert any("2 interactions dropped, because they are equal to an earlier one in" in line for line in report.lines)


def test_the_first_bad_row_is_that_of_the_file_though_rows_before_it_were_dropped() -> None:
    rows: list[tuple[object, ...]] = [(None, "a", 1, "buy"), ("u", "a", 1, "impression"), ("u", "b", 2, "buy")]
    log = log_of([*rows, ("u", "b", 2, "buy"), ("u", None, 3, "buy"), ("u", "z", 4, "buy"), ("u", "z", 4, "buy")])
    settings: dict[str, Any] = {"missing_users": "drop", "missing_values": "drop"}
    first_repeat, stranger = r"the first in data row 4:", r"the first, 'z', in data row 6:"
    assert_faults(faults_of(log, **settings), [first_repeat, stranger])
    assert_faults(faults_of(log, **settings, duplicates="drop"), [stranger])


def test_equal_rows_are_counted_however_few_are_compared_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [(f"u{number % 7}", "ab"[number % 2], number % 5, "view") for number in range(100)]
    monkeypatch.setattr("rqrec.training.data.compact.order.ROWS_AT_ONCE", 9)
    assert_faults(faults_of(log_of(rows)), [f"but {100 - len(set(rows))} are equal to an earlier one"])


def test_ids_of_both_tables_are_shown_if_none_agree_and_leading_zeros_are_named() -> None:
    items = pl.DataFrame({"item_id": ["1", "20", "3"]})
    log = log_of([("u", "001", 1), ("u", "x", 2)])
    zeros = r"\(1 of the 2 differ from an item only in leading zeros\)"
    pattern = rf"log.csv has ids such as \['001', 'x'\], items.csv such as \['1', '20', '3'\] {zeros}"
    assert_faults(faults_of(log, items, unknown_items="drop"), [pattern])
    assert_faults(
        faults_of(log, items), [rf"such as \['001', 'x'\] {zeros}, the first, '001', in data row 1: add them"]
    )


@pytest.mark.parametrize(
    ("logged", "difference"),
    [
        ("ITEM-a", "upper and lower case"),
        ("cafe\u0301", r"the Unicode form of letters \(NFC or NFD\)"),
        ("\uff49tem-a", r"compatible letters, such as wide ones \(NFKC\)"),
        ("two  words", "spaces"),
        ("two\u00a0words", r"compatible letters, such as wide ones \(NFKC\)"),
        ("7.0", "a point with zeros at the end"),
        ("CAFE\u0301", "several such things"),
        ("007.00", "several such things"),
        ("TWO   words", "several such things"),
    ],
)
def test_ids_that_look_nearly_equal_are_named(logged: str, difference: str) -> None:
    items = pl.DataFrame({"item_id": ["item-a", "caf\u00e9", "two words", "7"]})
    log = log_of([("u", logged, 1), ("u", "item-a", 2), ("u", "other", 3)])
    told, first = rf"\(1 of the 2 differ from an item only in {difference}\)", re.escape(repr(logged))
    assert_faults(
        faults_of(log, items), [rf"interactions name 2 items .* {told}, the first, {first}, in data row 1: add"]
    )
    for unknown_items in ("drop", "add"):
        report = DataReport()
        build_dataset("t", log, items, DatasetSettings(unknown_items=unknown_items), report=report)
        assert any(re.search(told, line) for line in report.lines)


@pytest.mark.parametrize(
    ("times", "told"),
    [
        ([1_700_000_000, 1_710_000_001], "; from 2023-11-14 to 2024-03-09"),
        (["2024-01-05", "2024-02-01 10:00"], "; from 2024-01-05 to 2024-02-01"),
        ([1, 2], ""),
        ([1_700_000_000, 1_700_000_000, 2**62], ""),
    ],
)
def test_the_report_says_from_when_to_when_the_interactions_are(times: list[object], told: str) -> None:
    report = DataReport()
    build_dataset("t", log_of([(str(row), "a", time) for row, time in enumerate(times)]), None, report=report)
    assert report.lines[-1].endswith(f"1 items{told}")
