from datetime import datetime
from itertools import pairwise

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rqrec.training.data.dataset import DataError, Dataset, build_dataset

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


def test_equal_rows_are_refused_unless_they_may_be_dropped() -> None:
    rows: list[tuple[object, ...]] = [("u", "a", 1), ("u", "a", 1), ("u", "b", 2)]
    with pytest.raises(DataError, match=r"but 2 rows are not, such as \[\('u', 'a', 1\).*drop_duplicates = True"):
        build_dataset("t", interactions(rows), ITEMS)
    assert sequences(build_dataset("t", interactions(rows), ITEMS, drop_duplicates=True)) == [[0, 1]]


def test_buying_an_item_twice_is_no_duplicate() -> None:
    assert sequences(build_dataset("t", interactions([("u", "a", 1), ("u", "a", 2)]), ITEMS)) == [[0, 0]]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([("u", "z", 1)], r"name 1 items that the items table does not have, such as \['z'\]"),
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
        (pl.DataFrame({"item_id": ["a", "a"]}), r"listed once, but 1 are listed more often, such as \['a'\]"),
        (pl.DataFrame({"item_id": ["a", None]}), "every item needs an item_id, but 1 have none"),
        (pl.DataFrame({"id": ["a"]}), r"but \['item_id'\] are missing: it has \['id'\]"),
        (pl.DataFrame({"item_id": []}, schema={"item_id": pl.String}), "at least one item"),
    ],
)
def test_refuses_bad_items(items: pl.DataFrame, message: str) -> None:
    with pytest.raises(DataError, match=message):
        build_dataset("t", interactions([("u", "a", 1)]), items)


def test_refuses_a_missing_column() -> None:
    with pytest.raises(DataError, match=r"but \['timestamp'\] are missing: it has \['user_id', 'item_id'\]"):
        build_dataset("t", pl.LazyFrame({"user_id": ["u"], "item_id": ["a"]}), ITEMS)
