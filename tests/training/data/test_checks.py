from datetime import timedelta

import polars as pl
import pytest

from rqrec.training.data.checks import checked_interactions, checked_items
from rqrec.training.data.dataset import DataError
from rqrec.training.data.report import DataReport
from rqrec.training.data.settings import DatasetSettings


def test_rows_without_a_user_an_item_or_a_time_are_dropped_and_counted_if_the_setting_says_so() -> None:
    report, dropping = DataReport(), DatasetSettings(missing_users="drop", missing_values="drop")
    users, item_ids, times = ["u", None, "u", "u", ""], ["a", "a", "", "b", None], [1, 2, 3, None, 5]
    log = pl.LazyFrame({"user_id": users, "item_id": item_ids, "timestamp": times})
    frame = checked_interactions(log, dropping, path="log.csv", report=report)
    assert frame.rows() == [("u", "a", 1)]
    items = checked_items(pl.DataFrame({"item_id": ["a", ""]}), dropping, path="items.csv", report=report)
    assert (items.rows(), report.faults) == ([("a",)], [])
    assert report.lines == [
        "log.csv: 2 of 5 interactions dropped, because they have no user_id",
        "log.csv: 1 of 5 interactions dropped, because they have no item_id",
        "log.csv: 1 of 5 interactions dropped, because they have no timestamp",
        "items.csv: 1 of 2 rows dropped, because they have no item_id",
    ]


def test_users_are_dropped_by_a_setting_of_their_own() -> None:
    log = pl.LazyFrame({"user_id": ["u", None, None, "u"], "item_id": ["a", "a", "", ""], "timestamp": [1, 2, 3, 4]})
    report = DataReport()
    frame = checked_interactions(log, DatasetSettings(missing_users="drop"), path="log.csv", report=report)
    assert frame.rows() == [("u", "a", 1)]
    assert report.lines == ["log.csv: 2 of 4 interactions dropped, because they have no user_id"]
    assert len(report.faults) == 1
    assert "a valid item_id, but 1 have none; the first is data row 4 of 4" in report.faults[0]
    assert "DatasetSettings.missing_values = 'drop'" in report.faults[0]


def test_dropping_all_rows_is_an_error() -> None:
    log, dropping = pl.LazyFrame({"user_id": [""], "item_id": ["a"]}), DatasetSettings(missing_users="drop")
    with pytest.raises(DataError, match=r"log.csv must have an interaction with .*, but no row has all"):
        checked_interactions(log, dropping, path="log.csv", report=DataReport())


@pytest.mark.parametrize("name", ["user_id", "item_id", "event_type"])
def test_a_column_of_a_type_that_cannot_be_read_is_named(name: str) -> None:
    log = pl.DataFrame({"user_id": ["u"], "item_id": ["a"]}).with_columns(pl.Series(name, [timedelta(1)]))
    report = DataReport()
    checked_interactions(log.lazy(), DatasetSettings(), path="log.parquet", report=report)
    assert f"log.parquet: unable to read column {name}: casting from Duration" in report.faults[0]


def test_wide_integers_and_categories_are_read() -> None:
    wide, stars = pl.Series([1, 2], dtype=pl.Int128), pl.Series(["1", "5"], dtype=pl.Categorical)
    log = pl.DataFrame({"user_id": wide, "item_id": wide, "timestamp": wide, "rating": stars})
    frame = checked_interactions(log.lazy(), DatasetSettings(), path="log.parquet", report=DataReport())
    assert frame.rows() == [("1", "1", 1, 1.0), ("2", "2", 2, 5.0)]
    assert frame["timestamp"].dtype == pl.Int64


@pytest.mark.parametrize(("dtype", "largest"), [(pl.Float32, 2**24), (pl.Float64, 2**53)])
def test_an_id_that_is_a_float_must_be_small_enough_to_have_all_its_digits(
    dtype: type[pl.DataType], largest: int
) -> None:
    def checked(number: int) -> tuple[pl.DataFrame, DataReport]:
        frame = pl.DataFrame({"user_id": pl.Series([float(number), None], dtype=dtype), "item_id": ["a", "b"]})
        report, settings = DataReport(), DatasetSettings(missing_users="drop")
        return checked_interactions(frame.lazy(), settings, path="log.parquet", report=report), report

    assert checked(largest - 1)[0]["user_id"].to_list() == [str(largest - 1)]
    faults = checked(largest)[1].faults
    assert f"user_id must hold ids as text or whole numbers, got {dtype.__name__}" in faults[0]


def test_dropped_rows_of_an_item_are_named_and_those_with_other_values_are_counted() -> None:
    items = pl.DataFrame({"item_id": ["a", "b", "a", "b", "a"], "tags": [["x"], ["y"], ["x"], ["z"], None]})
    report = DataReport()
    kept = checked_items(items, DatasetSettings(duplicates="drop"), path="items.parquet", report=report)
    assert kept.rows() == [("a", ["x"]), ("b", ["y"])]
    assert report.lines == [
        "items.parquet: 3 rows dropped of items that are listed more than once, such as ['a', 'b']; 2 of these rows "
        "had other values than the first row of the item"
    ]
