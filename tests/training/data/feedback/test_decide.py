from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl
import pytest

from rqrec.training.data.build import build_dataset
from rqrec.training.data.dataset import DataError, Dataset
from rqrec.training.data.report import DataReport
from rqrec.training.data.settings import DatasetSettings
from rqrec.training.data.splits import user_sequences

ITEMS = pl.DataFrame({"item_id": ["a", "b", "c", "d", "e", "f"]})
STARS = [1, 2, 3, 4, 5]


def built(report: DataReport | None = None, *, columns: Mapping[str, Sequence[object]], **settings: Any) -> Dataset:
    """One user who met item a, b, c … in this order."""
    rows = len(next(iter(columns.values())))
    log = pl.LazyFrame({"user_id": ["u"] * rows, "item_id": ITEMS["item_id"][:rows], "timestamp": range(rows)})
    log = log.with_columns(pl.Series(name, values) for name, values in columns.items())
    return build_dataset("t", log, ITEMS, DatasetSettings(**settings), log="log.csv", report=report)


def told(dataset: Dataset) -> list[tuple[float, str | None]]:
    """The weight and the type of each interaction."""
    frame = dataset.interactions
    names = [None, *dataset.event_types]
    weights = frame["weight"].to_list() if "weight" in frame.columns else [1.0] * len(frame)
    types = frame["type"].to_list() if "type" in frame.columns else [0] * len(frame)
    return [(weight, names[number]) for weight, number in zip(weights, types, strict=True)]


def test_low_ratings_are_dislikes_which_are_never_targets() -> None:
    report = DataReport()
    dataset = built(report, columns={"rating": STARS})
    assert told(dataset) == [(0, "disliked"), (0, "disliked"), (1, "neutral"), (1, "liked"), (1, "liked")]
    assert (dataset.disliking_types, dataset.disliked_types) == (("disliked",), (1,))
    assert "2 of 5 are dislikes (below 3; read in the history, never a target), 2 are likes (from 4)" in report.lines[0]


def test_thresholds_and_weights_are_settings() -> None:
    dataset = built(columns={"rating": STARS}, disliked_below=2, liked_from=3, rating_weight=0.5)
    assert told(dataset) == [(0, "disliked"), (0.625, "neutral"), (0.75, "liked"), (0.875, "liked"), (1, "liked")]


def test_without_information_nothing_changes() -> None:
    plain, report = built(columns={"timestamp": range(5)}), DataReport()
    same: list[dict[str, list[object]]] = [
        {"rating": [4.0] * 5},
        {"event_type": ["view"] * 5},
        {"rating": [None] * 5, "event_type": ["x"] * 5},
    ]
    for columns in same:
        dataset = built(report, columns=columns)
        assert (dataset.fingerprint, dataset.event_types) == (plain.fingerprint, ())
        assert user_sequences(dataset).weights_I is None
    assert "log.csv: column rating is not used, because all its values are 4" in report.lines
    assert "log.csv: column event_type is not used, because all its values are 'view'" in report.lines


def test_ratings_and_types_may_be_ignored() -> None:
    columns: dict[str, list[object]] = {"rating": ["five", *"1234"], "event_type": ["dislike", *"view"]}
    dataset = built(columns=columns, ratings="ignore", events="ignore")
    assert dataset.fingerprint == built(columns={"timestamp": range(5)}).fingerprint


def test_event_types_count_alike_unless_their_name_says_that_they_are_dislikes() -> None:
    report = DataReport()
    types = ["view", "purchase", "Remove_From_Cart", None, "impression"]
    dataset = built(report, columns={"event_type": types})
    assert told(dataset) == [(1, "view"), (1, "purchase"), (0, "Remove_From_Cart"), (1, None)]
    assert "'Remove_From_Cart' is a dislike: read in the history, never a target (1)" in report.lines[0]
    assert "'impression' is ignored (1)" in report.lines[0]
    assert "'view' counts 1 (1)" in report.lines[0]


def test_a_setting_says_what_a_type_does() -> None:
    types = ["view", "buy", "return", "bot", "dislike"]
    actions = {"view": 0.5, "buy": 3, "return": "exclude", "bot": "ignore", "dislike": 1}
    dataset = built(columns={"event_type": types}, event_types=actions)
    assert told(dataset) == [(0.5, "view"), (3, "buy"), (1, "dislike")]
    assert dataset.excluding_types == ("return",)


def test_a_low_rating_makes_any_event_a_dislike() -> None:
    columns: dict[str, list[object]] = {
        "rating": [1, None, 5, None, 4],
        "event_type": ["review", "buy", "review", "view", None],
    }
    assert told(built(columns=columns)) == [(0, "disliked"), (1, "buy"), (1, "review"), (1, "view"), (1, None)]


def test_an_item_may_be_viewed_and_bought_at_the_same_time() -> None:
    log = pl.LazyFrame(
        {
            "user_id": ["u"] * 3,
            "item_id": ["b", "a", "a"],
            "timestamp": [1, 2, 2],
            "event_type": ["view", "buy", "view"],
        }
    )
    assert len(build_dataset("t", log, ITEMS).interactions) == 3
    with pytest.raises(DataError, match="distinct"):
        build_dataset("t", log.with_columns(event_type=pl.Series(["view", "buy", "buy"])), ITEMS)


def test_the_table_of_columns_says_what_is_not_used() -> None:
    report = DataReport()
    built(report, columns={"rating": [2.0, None, 5.0, 4.0, 4.0], "event_type": [None] * 5})
    described = {column.name: (column.use, column.reason) for column in report.columns}
    assert described["rating"] == ("rating", "by its name")
    assert described["event_type"] == ("not used", "it is empty")


def test_many_values_are_no_types() -> None:
    report = DataReport()
    log = pl.LazyFrame({"user_id": "u", "item_id": "a", "timestamp": range(101), "event_type": map(str, range(101))})
    assert build_dataset("t", log, ITEMS, report=report).event_types == ()
    assert "column event_type is not used, because it has 101 different values" in report.lines[0]


@pytest.mark.parametrize(
    ("columns", "settings", "message"),
    [
        ({"event_type": ["a", "b"]}, {"event_types": {"buy": 2}}, r"\['buy'\] are not in the column .*it has \['[ab]'"),
        ({"rating": [1, 2]}, {"event_types": {"buy": 2}}, "must have a column event_type"),
        ({"event_type": ["dislike", "refund"]}, {}, "but all 2 are"),
        ({"event_type": ["impression", "impression"]}, {}, "but all 2 have an event type that is ignored or only"),
        ({"rating": [1, 2]}, {"disliked_below": 3}, "but all 2 are"),
    ],
)
def test_faults_are_one_line(columns: dict[str, list[object]], settings: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message) as raised:
        built(columns=columns, **settings)
    assert "\n" not in str(raised.value)
