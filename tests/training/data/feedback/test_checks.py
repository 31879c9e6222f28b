import polars as pl
import pytest

from rqrec.training.data.dataset import DataError
from rqrec.training.data.feedback.checks import checked_event_types, checked_ratings


def test_ratings_are_numbers_and_may_be_missing() -> None:
    text = pl.Series("rating", [" 4.5", "NA", None, "", "3"])
    assert checked_ratings(text, path="log.csv").to_list() == [4.5, None, None, None, 3.0]
    assert checked_ratings(pl.Series("rating", ["4,5", "3", None]), path="log.csv").to_list() == [4.5, 3.0, None]
    assert checked_ratings(pl.Series("rating", [float("nan"), 2]), path="log.csv").to_list() == [None, 2.0]
    assert checked_ratings(pl.Series("rating", [True, False]), path="log.csv").to_list() == [1.0, 0.0]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (["4", "good", "bad"], r"log.csv, data row 2: rating must be a number, got 'good'; 2 of 3 values are none"),
        ([1.0, float("inf")], "data row 2: rating must be a number, got inf"),
        ([[1.0], [2.0]], "must hold numbers, got List"),
    ],
)
def test_other_ratings_are_an_error_of_one_line(values: list[object], message: str) -> None:
    with pytest.raises(DataError, match=message) as raised:
        checked_ratings(pl.Series("rating", values), path="log.csv")
    assert "DatasetSettings.ratings = 'ignore'" in str(raised.value)
    assert "\n" not in str(raised.value)


def test_event_types_are_text_without_spaces() -> None:
    assert checked_event_types(pl.Series("event_type", [" view", "", None, "NULL"]), path="x").to_list() == [
        "view",
        None,
        None,
        None,
    ]
    assert checked_event_types(pl.Series("event_type", [1, 2]), path="x").to_list() == ["1", "2"]
    with pytest.raises(DataError, match="must hold text, got Struct"):
        checked_event_types(pl.Series("event_type", [{"a": 1}]), path="x")
