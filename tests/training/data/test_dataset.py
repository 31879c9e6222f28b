import re
from datetime import datetime
from itertools import pairwise

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rqrec.training.data.build import build_dataset
from rqrec.training.data.dataset import DataError, Dataset
from rqrec.training.data.report import DataReport
from rqrec.training.data.settings import DatasetSettings

ITEMS = pl.DataFrame({"item_id": ["a", "b", "c"], "genres": [["x"], ["x", "y"], None]})


def interactions(rows: list[tuple[object, ...]]) -> pl.LazyFrame:
    return pl.LazyFrame(rows, schema=["user_id", "item_id", "timestamp"], orient="row")


def sequences(dataset: Dataset) -> list[list[int]]:
    frame = dataset.interactions
    return [part["item_index"].to_list() for part in frame.partition_by("user_index", maintain_order=True)]


def test_orders_each_user_in_time() -> None:
    dataset = build_dataset("t", interactions([("u", "c", 3), ("v", "b", 1), ("u", "a", 1), ("u", "b", 2)]), ITEMS)
    assert sequences(dataset) == [[0, 1, 2], [1]]
    assert dataset.num_users == 2


@given(st.permutations([("u", "a", 5), ("u", "b", 5), ("u", "c", 5), ("v", "c", 1), ("v", "a", 1)]))
def test_ties_in_time_do_not_depend_on_the_order_of_the_file(rows: list[tuple[object, ...]]) -> None:
    reference = build_dataset("t", interactions(sorted(rows, key=str)), ITEMS)
    shuffled = build_dataset("t", interactions(rows), ITEMS)
    assert sequences(shuffled) == sequences(reference)
    assert shuffled.fingerprint == reference.fingerprint


def splitmix64(number: int) -> int:
    """Steele et al. 2014, in plain integers."""
    mask = 2**64 - 1
    mixed = (number + 0x9E3779B97F4A7C15) & mask
    mixed = ((mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9) & mask
    mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & mask
    return mixed ^ (mixed >> 31)


def test_ties_in_time_do_not_follow_the_numbering_of_the_items() -> None:
    items = pl.DataFrame({"item_id": [str(i) for i in range(200)]})
    rows: list[tuple[object, ...]] = [("u", str(i), 0) for i in range(200)]
    (sequence,) = sequences(build_dataset("t", interactions(rows), items))
    ascending = sum(a < b for a, b in pairwise(sequence))
    assert 70 < ascending < 130
    assert sequence == sorted(range(200), key=splitmix64)  # user 0, so the hashed number is the item's


@pytest.mark.parametrize(
    ("earlier", "later"),
    [
        (1.25, 1.5),
        (datetime(2020, 1, 1, 12), datetime(2020, 1, 1, 13)),
        ("2020-01-01T12:00:00", "2020-01-01T12:00:01"),
    ],
)
def test_reads_times_in_any_form(earlier: object, later: object) -> None:
    dataset = build_dataset("t", interactions([("u", "a", later), ("u", "b", earlier)]), ITEMS)
    assert sequences(dataset) == [[1, 0]]


def test_fingerprint_changes_with_any_value() -> None:
    base = build_dataset("t", interactions([("u", "a", 1), ("u", "b", 2)]), ITEMS).fingerprint
    other_item = ITEMS.with_columns(genres=pl.Series([["x"], ["xy"], None]))
    null_is_not_empty = ITEMS.with_columns(genres=pl.Series([["x"], ["x", "y"], []], dtype=pl.List(pl.String)))
    assert build_dataset("t", interactions([("u", "a", 1), ("u", "c", 2)]), ITEMS).fingerprint != base
    assert build_dataset("t", interactions([("u", "a", 1), ("u", "b", 2)]), other_item).fingerprint != base
    assert build_dataset("t", interactions([("u", "a", 1), ("u", "b", 2)]), null_is_not_empty).fingerprint != base


def test_one_error_names_all_faults() -> None:
    log = pl.LazyFrame(
        {
            "user_id": ["u", "u", "u", None, "v"],
            "item_id": ["a", "a", "z", "a", ""],
            "timestamp": [1, 1, 2, 3, 4],
            "event_type": ["view", "view", "buy", "view", "view"],
        }
    )
    items = pl.DataFrame({"item_id": ["a", "a", None], "title": ["x", "y", "z"]})
    with pytest.raises(DataError) as raised:
        build_dataset("t", log, items, DatasetSettings(event_types={"rent": 2}))
    head, *faults = str(raised.value).split("\n- ")
    assert head == "the data has 7 faults:"
    patterns = [
        "\\['rent'\\] are not in the column event_type: it has \\['view', 'buy'\\]",
        "a valid user_id, but 1 have none",
        "a valid item_id, but 1 have none",
        "every item needs an item_id",
        "every item_id must be listed once",
        "interactions must be distinct .* users and items \\[\\('u', 'a'\\)\\]",
        "1 items that the items table does not have, such as \\['z'\\]",
    ]
    for fault, pattern in zip(faults, patterns, strict=True):
        assert re.search(pattern, fault)


def test_an_error_that_ends_the_reading_is_named_with_the_faults_before_it() -> None:
    log = pl.LazyFrame({"user_id": ["u"], "item_id": ["z"], "timestamp": ["1/2/2010"]})
    with pytest.raises(DataError, match=r"2 faults:\n- .*timestamp_format.*\n- .*no interaction names an item"):
        build_dataset("t", log, ITEMS, DatasetSettings(unknown_items="drop"))


def test_equal_rows_are_refused_unless_they_may_be_dropped() -> None:
    rows: list[tuple[object, ...]] = [("u", "a", 1), ("u", "a", 1), ("u", "b", 2)]
    with pytest.raises(
        DataError,
        match=r"but 1 are equal .* users and items \[\('u', 'a'\)\], the first in data row 2:.*\(drops these 1\)",
    ):
        build_dataset("t", interactions(rows), ITEMS)
    dropping, report = DatasetSettings(duplicates="drop"), DataReport()
    assert sequences(build_dataset("t", interactions(rows), ITEMS, dropping, report=report)) == [[0, 1]]
    why = "because they are equal to an earlier one in user_id, item_id, timestamp"
    assert report.lines[0] == f"the interactions table: 1 interactions dropped, {why}"
    assert sequences(build_dataset("t", interactions(rows), ITEMS, DatasetSettings(duplicates="keep"))) == [[0, 0, 1]]


def test_buying_an_item_twice_is_no_duplicate() -> None:
    assert sequences(build_dataset("t", interactions([("u", "a", 1), ("u", "a", 2)]), ITEMS)) == [[0, 0]]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (
            [("u", "z", 1)],
            r"name 1 items that the items table does not have, such as \['z'\], the first, 'z', in data row 1",
        ),
        ([("u", None, 1)], "every interaction needs a valid item_id, but 1 have none; the first is data row 1 of 1"),
        ([("u", "a", float("nan"))], "needs a valid timestamp"),
        ([("u", "a", "yesterday")], "needs a valid timestamp"),
        ([("u", "a", True)], "timestamp must be a number, a date or a time, got Boolean"),
        ([], "timestamp must be|at least one interaction"),
    ],
)
def test_refuses_bad_interactions(rows: list[tuple[object, ...]], message: str) -> None:
    with pytest.raises(DataError, match=message):
        build_dataset("t", interactions(rows), ITEMS)


@pytest.mark.parametrize(
    ("items", "message"),
    [
        (
            pl.DataFrame({"item_id": ["a", "a"]}),
            r"listed once, but 1 are listed more often, such as \['a'\]; data row 2 is",
        ),
        (pl.DataFrame({"item_id": ["a", None]}), "every item needs an item_id, but 1 have none"),
        (pl.DataFrame({"id": ["a"]}), r"but \['item_id'\] are missing: it has \['id'\]"),
        (pl.DataFrame({"item_id": []}, schema={"item_id": pl.String}), "at least one item"),
    ],
)
def test_refuses_bad_items(items: pl.DataFrame, message: str) -> None:
    with pytest.raises(DataError, match=message):
        build_dataset("t", interactions([("u", "a", 1)]), items)


def test_refuses_a_missing_column() -> None:
    with pytest.raises(DataError, match=r"but \['item_id'\] are missing: it has \['user_id'\]"):
        build_dataset("t", pl.LazyFrame({"user_id": ["u"]}), ITEMS)


def test_without_times_the_order_of_the_rows_counts_and_the_report_says_so() -> None:
    report, log = DataReport(), pl.LazyFrame({"user_id": ["u", "v", "u", "u"], "item_id": ["c", "a", "a", "c"]})
    assert sequences(build_dataset("t", log, ITEMS, report=report)) == [[2, 0, 2], [0]]
    assert "there is no column timestamp, so the order of the rows is taken" in report.lines[0]


def test_times_are_ignored_if_the_setting_says_so() -> None:
    columns = {"user_id": ["u", "u", "u"], "item_id": ["c", "a", "b"], "timestamp": ["12:30:00", "9:15:00", "10:00:00"]}
    with pytest.raises(DataError, match=r"got '12:30:00', .* or set DatasetSettings.times = 'ignore'"):
        build_dataset("t", pl.LazyFrame(columns), ITEMS)
    report, settings = DataReport(), DatasetSettings(times="ignore")
    assert sequences(build_dataset("t", pl.LazyFrame(columns), ITEMS, settings=settings, report=report)) == [[2, 0, 1]]
    assert "times are ignored, so the order of the rows is taken" in report.lines[0]


def test_unknown_items_are_dropped_or_added_if_the_setting_says_so() -> None:
    rows: list[tuple[object, ...]] = [("u", "z", 1), ("u", "a", 2), ("v", "z", 3), ("v", "y", 4)]
    report = DataReport()
    dropped = build_dataset("t", interactions(rows), ITEMS, DatasetSettings(unknown_items="drop"), report=report)
    assert sequences(dropped) == [[0]]
    assert "3 of 4 interactions dropped, because the items table lacks their items (2)" in report.lines[0]
    added = build_dataset("t", interactions(rows), ITEMS, DatasetSettings(unknown_items="add"), report=report)
    assert added.items["item_id"].to_list() == ["a", "b", "c", "y", "z"]
    assert added.items["genres"][3] is None
    assert sequences(added) == [[4, 0], [4, 3]]


def test_dropping_all_interactions_is_an_error() -> None:
    with pytest.raises(DataError, match="no interaction names an item of the items table: check that both use"):
        build_dataset("t", interactions([("u", "z", 1)]), ITEMS, DatasetSettings(unknown_items="drop"))


def test_interactions_without_a_user_are_an_error_that_names_the_setting_or_dropped() -> None:
    rows: list[tuple[object, ...]] = [("u", "a", 1), (None, "b", 2), (" ", None, 3), ("u", "b", 4)]
    with pytest.raises(DataError, match=r"valid user_id, but 2 have none; .* row 2 of 4.*missing_users = 'drop'"):
        build_dataset("t", interactions(rows), ITEMS)
    report = DataReport()
    dataset = build_dataset("t", interactions(rows), ITEMS, DatasetSettings(missing_users="drop"), report=report)
    assert sequences(dataset) == [[0, 1]]
    assert "the interactions table: 2 of 4 interactions dropped, because they have no user_id" in report.lines


def test_a_log_alone_names_its_items() -> None:
    report = DataReport()
    dataset = build_dataset("t", interactions([("u", "b", 1), ("u", "a", 2)]), None, report=report)
    assert dataset.items.rows() == [("a",), ("b",)]
    assert sequences(dataset) == [[1, 0]]
    assert "there is no items table" in report.lines[0]


@pytest.mark.parametrize("item_id", ["00123", "12e3", "080442957X", "1.0", "NA", "ü b"])
def test_ids_stay_as_they_are_written(item_id: str) -> None:
    items = pl.DataFrame({"item_id": [item_id]})
    assert build_dataset("t", interactions([("u", item_id, 1)]), items).items["item_id"].to_list() == [item_id]


def test_spaces_around_ids_are_removed_and_counted() -> None:
    report = DataReport()
    dataset = build_dataset("t", interactions([(" u", "a ", 1), ("u", "b", 2)]), ITEMS, report=report)
    assert sequences(dataset) == [[0, 1]]
    assert "the interactions table: spaces around 1 values of item_id were removed" in report.lines


def test_a_text_that_often_means_nothing_is_an_id_and_said() -> None:
    report = DataReport()
    build_dataset("t", interactions([("NA", "a", 1), ("NA", "b", 2)]), ITEMS, report=report)
    assert "user_id is 'NA' in 2 rows, which is read as an id" in report.lines[0]


def test_a_mark_of_missing_users_in_many_rows_is_no_user() -> None:
    rows: list[tuple[object, ...]] = [*(("NA", "a", t) for t in range(150)), *(("u", item, 1) for item in "abc")]
    report = DataReport()
    with pytest.raises(DataError, match=r"valid user_id, but 150 have none; .* a column such as that of the session"):
        build_dataset("t", interactions(rows), ITEMS, report=report)
    assert "user_id is 'NA' in 150 of 153 rows, which counts as no user" in report.lines[0]
    dataset = build_dataset("t", interactions(rows), ITEMS, DatasetSettings(missing_users="drop"))
    assert dataset.num_users == 1


def test_whole_floats_are_ids_and_others_are_refused() -> None:
    items = pl.DataFrame({"item_id": [1.0, 2.0]})
    assert build_dataset("t", interactions([("u", 2, 1)]), items).items["item_id"].to_list() == ["1", "2"]
    with pytest.raises(DataError, match=r"item_id must hold ids as text or whole numbers, got Float64 such as 1.5"):
        build_dataset("t", interactions([("u", 1.5, 1)]), items)


def test_refuses_ids_that_the_service_refuses() -> None:
    longest = "é" * 256
    assert build_dataset("t", interactions([("u", longest, 1)]), None).items["item_id"].to_list() == [longest]
    with pytest.raises(DataError, match="data row 2: item_id must have at most 256 characters, got 257"):
        build_dataset("t", interactions([("u", "a", 1), ("u", "a" * 257, 2)]), None)
    with pytest.raises(DataError, match="data row 2: item_id must have no control characters"):
        build_dataset("t", interactions([("u", "a", 1), ("u", "a\0b", 2)]), None)


def test_ids_that_look_equal_are_warned_of_and_stay_apart() -> None:
    report = DataReport()
    rows: list[tuple[object, ...]] = [("u", "caf\u00e9", 1), ("u", "cafe\u0301", 2), ("u", "\u00e9", 3), ("u", "e", 4)]
    assert len(build_dataset("t", interactions(rows), None, report=report).items) == 4
    (warning,) = [line for line in report.lines if line.startswith("WARNING")]
    assert re.search(
        r"2 values of item_id, such as 'caf.+', look equal to another value .* write all in one form", warning
    )


def test_of_an_item_listed_twice_the_first_row_is_kept_if_the_setting_says_so() -> None:
    items, report = pl.DataFrame({"item_id": ["b", "a", "b"], "n": [1, 2, 3]}), DataReport()
    dataset = build_dataset(
        "t", interactions([("u", "a", 1)]), items, DatasetSettings(duplicates="drop"), report=report
    )
    assert dataset.items.rows() == [("b", 1), ("a", 2)]
    assert report.lines[0].startswith("the items table: 1 rows dropped of items that are listed more than once")
