import polars as pl
import pytest

from rqrec.training.data.dataset import DataError
from rqrec.training.data.feedback.checks import checked_event_types, checked_ratings, require_types
from rqrec.training.data.report import DataReport
from rqrec.training.data.settings import DatasetSettings


def test_ratings_are_numbers_and_may_be_missing() -> None:
    text = pl.Series("rating", [" 4.5", "NA", None, "", "3"])
    assert checked_ratings(text, path="log.csv", report=DataReport()).to_list() == [4.5, None, None, None, 3.0]
    assert checked_ratings(pl.Series("rating", ["4,5", "3", None]), path="log.csv", report=DataReport()).to_list() == [
        4.5,
        3.0,
        None,
    ]
    assert checked_ratings(pl.Series("rating", [float("nan"), 2]), path="log.csv", report=DataReport()).to_list() == [
        None,
        2.0,
    ]
    assert checked_ratings(pl.Series("rating", [True, False]), path="log.csv", report=DataReport()).to_list() == [
        1.0,
        0.0,
    ]


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
        checked_ratings(pl.Series("rating", values), path="log.csv", report=DataReport())
    assert "DatasetSettings.ratings = 'ignore'" in str(raised.value)
    assert "\n" not in str(raised.value)


def test_event_types_are_text_without_spaces() -> None:
    assert checked_event_types(
        pl.Series("event_type", [" view", "", None, "NULL"]), path="x", report=DataReport()
    ).to_list() == [
        "view",
        None,
        None,
        None,
    ]
    assert checked_event_types(pl.Series("event_type", [1, 2]), path="x", report=DataReport()).to_list() == ["1", "2"]
    with pytest.raises(DataError, match="must hold text, got Struct"):
        checked_event_types(pl.Series("event_type", [{"a": 1}]), path="x", report=DataReport())


def test_texts_that_mean_a_missing_value_are_counted_in_the_report() -> None:
    report = DataReport()
    checked_ratings(pl.Series("rating", ["4", "NA", "n/a", "", None]), path="log.csv", report=report)
    checked_event_types(pl.Series("event_type", ["view", "none", ""]), path="log.csv", report=report)
    assert report.lines == [
        "log.csv: rating is missing in 2 rows that have texts such as 'NA'",
        "log.csv: event_type is missing in 1 rows that have texts such as 'none'",
    ]


def test_a_type_of_the_settings_that_means_a_missing_value_is_explained() -> None:
    types, settings = pl.Series("event_type", ["view", None]), DatasetSettings(event_types={"none": "ignore"})
    with pytest.raises(DataError, match=r"it has \['view'\] \(texts such as 'none' count as no type\)"):
        require_types(types, settings, path="log.csv")
