"""Several sources become one data set with the items and event types that the bundle knows."""

import re
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from rqrec.models.bundle.bundle import Bundle
from rqrec.training.data.dataset import DataError
from rqrec.training.data.report import DataReport
from rqrec.training.data.settings import DatasetSettings
from rqrec.training.retrain.sources import Read, read_sources
from tests.training.retrain.conftest import START

NOW = START + 86_400
EVENTS = [("u1", "100", START, "view"), ("u1", "101", START + 60, "hide"), ("u2", "102", START, "buy")]


@pytest.fixture(scope="module")
def typed(bundle: Bundle) -> Bundle:
    """The bundle, as if its model read event types; 'buy' is type 2."""
    return replace(
        bundle, manifest=replace(bundle.manifest, event_types=("dislike", "buy"), disliking_types=("dislike",))
    )


def exported(folder: Path, rows: list[tuple[str, str, int, str]]) -> Path:
    """A folder as `rqrec export-events` writes it."""
    day = folder / "interactions" / "day=2026-01-31"
    day.mkdir(parents=True)
    table = pl.DataFrame(rows, schema=["user_id", "item_id", "timestamp", "event_type"], orient="row").with_columns(
        pl.col("timestamp").map_elements(lambda at: datetime.fromtimestamp(at, UTC), pl.Datetime("us", "UTC")),
        value=pl.lit(None, pl.Float64),
        event_id=pl.lit("e"),
        recommendation_id=pl.lit(None, pl.String),
    )
    table.write_parquet(day / "part-00000000.parquet")
    return folder


def read(bundle: Bundle, *sources: Path, settings: DatasetSettings | None = None) -> tuple[Read, DataReport]:
    report = DataReport()
    settings = settings or DatasetSettings()
    names = [*map(str, sources)]
    return read_sources(names, bundle, settings, data_dir=Path(), report=report, until_s=NOW), report


def rows(found: Read) -> list[tuple[object, ...]]:
    data = found.dataset
    users = data.user_ids[data.interactions["user_index"]]
    items = data.items["item_id"][data.interactions["item_index"]]
    return list(zip(users, items, *(data.interactions[one] for one in ("timestamp", "weight", "type")), strict=True))


def test_event_types_have_the_numbers_that_the_model_knows(typed: Bundle, tmp_path: Path) -> None:
    found, _ = read(typed, exported(tmp_path, EVENTS))
    assert rows(found) == [
        ("u1", "100", START, 1.0, 0),
        ("u1", "101", START + 60, 1.0, 0),
        ("u2", "102", START, 1.0, 2),
    ]
    assert (found.dataset.event_types, found.dataset.disliked_types) == (("dislike", "buy"), (1,))


def test_one_single_type_is_not_forgotten(typed: Bundle, tmp_path: Path) -> None:
    found, _ = read(typed, exported(tmp_path, [("u1", "100", START, "buy")]))
    assert rows(found) == [("u1", "100", START, 1.0, 2)]


def test_weights_are_those_of_the_settings_also_if_all_are_equal(typed: Bundle, tmp_path: Path) -> None:
    settings = DatasetSettings(event_types={"buy": 3.0})
    found, _ = read(typed, exported(tmp_path, [("u1", "100", START, "buy")]), settings=settings)
    assert rows(found) == [("u1", "100", START, 3.0, 2)]


def test_what_stands_in_two_sources_counts_once(typed: Bundle, tmp_path: Path) -> None:
    found, report = read(typed, exported(tmp_path / "a", EVENTS), exported(tmp_path / "b", EVENTS[1:]))
    assert len(rows(found)) == 3
    assert any("2 interactions dropped, because an earlier source has them" in line for line in report.lines)


def test_exported_events_are_not_read_by_the_names_of_the_first_data(typed: Bundle, tmp_path: Path) -> None:
    settings = DatasetSettings(
        columns={"user_id": "CustomerID"}, interactions="orders.csv", timestamp_format="%d.%m.%Y"
    )
    assert len(rows(read(typed, exported(tmp_path, EVENTS), settings=settings)[0])) == 3


def test_events_of_unknown_items_are_left_out_and_counted(typed: Bundle, tmp_path: Path) -> None:
    found, report = read(typed, exported(tmp_path, [*EVENTS, ("u3", "gone", START, "view")]))
    assert len(rows(found)) == 3
    assert any("1 of 4 interactions dropped" in line for line in report.lines)


def test_no_id_that_a_client_chose_stops_a_retraining(typed: Bundle, tmp_path: Path) -> None:
    strange = [("u3", "10\n0", START, "view"), (" ", "100", START, "view"), ("u4", "\u2028", START, "view")]
    anonymous = [("null", "100", START + number, "view") for number in range(200)]
    found, report = read(typed, exported(tmp_path / "some", [*EVENTS, *strange, *anonymous]))
    assert len(rows(found)) == 3
    assert {user for user, *_ in rows(found)} == {"u1", "u2"}
    dropped = [line for line in report.lines if "interactions dropped" in line]
    assert [re.search(r"(\d+) of 206", line) is not None for line in dropped] == [True, True]


@pytest.mark.parametrize("wrong", [0, 1_000_000])  # 1970: microseconds of it look like no times, or like milliseconds
def test_clocks_that_are_wrong_change_no_other_time(typed: Bundle, tmp_path: Path, wrong: int) -> None:
    strange = [("u3", film, wrong, "view") for film in ("100", "101", "102", "103")]
    found, _ = read(typed, exported(tmp_path, [*EVENTS, *strange]))
    assert sorted(found.dataset.interactions["timestamp"]) == [wrong] * 4 + [START, START, START + 60]


def test_a_folder_without_events_yet_is_empty(typed: Bundle, tmp_path: Path) -> None:
    (tmp_path / "interactions").mkdir()
    found, report = read(typed, tmp_path)
    assert rows(found) == []
    assert len(found.dataset.items) == len(typed.items)
    assert report.lines == [f"{tmp_path}: there are no events yet"]


def test_events_in_the_future_are_left_out_and_counted(typed: Bundle, tmp_path: Path) -> None:
    in_2100, soon = 4_102_444_800, NOW + 1
    later = [("u1", "102", in_2100, "buy"), ("u9", "100", soon, "buy"), ("u2", "100", NOW, "buy")]
    found, report = read(typed, exported(tmp_path / "a", EVENTS), exported(tmp_path / "b", later))
    assert sorted(found.dataset.interactions["timestamp"]) == [START, START, START + 60, NOW]
    assert found.dataset.user_ids.to_list() == ["u1", "u2"]
    assert found.due_s == soon
    assert any(line.startswith("2 interactions are left out until their time has come") for line in report.lines)


@pytest.mark.parametrize(
    "unusable",
    [
        [("u1", "gone", START, "view")],
        [(" ", "100", START, "view")],
        [("u1", " ", START, "view")],
        [("u1", "10\x070", START, "view")],
        [("u1", "100", START, "impression"), ("u1", "gone", START, "view")],
        [("u1", "100", NOW + 9, "view")],
        [],
    ],
)
def test_an_export_without_a_usable_event_is_like_one_without_events(
    typed: Bundle, tmp_path: Path, unusable: list[tuple[str, str, int, str]]
) -> None:
    alone, report = read(typed, exported(tmp_path / "a", unusable))
    assert rows(alone) == []
    assert any("dropped" in line or "left out" in line or "0 kept" in line for line in report.lines)
    assert len(rows(read(typed, tmp_path / "a", exported(tmp_path / "b", EVENTS))[0])) == 3


def test_own_data_without_a_usable_interaction_is_refused(typed: Bundle, tmp_path: Path) -> None:
    pl.DataFrame([("u1", "gone", START)], schema=["user_id", "item_id", "timestamp"], orient="row").write_csv(
        tmp_path / "interactions.csv"
    )
    with pytest.raises(DataError, match="no interaction names an item of the bundle"):
        read(typed, tmp_path)


def test_new_items_follow_those_of_the_bundle(typed: Bundle, tmp_path: Path) -> None:
    folder = exported(tmp_path, [*EVENTS, ("u3", "new", START, "view")])
    pl.DataFrame([{"item_id": "new", "title": "A new film", "year": 2001, "genres": ["War"]}]).write_parquet(
        folder / "items.parquet"
    )
    found, _ = read(typed, folder)
    assert found.dataset.items["item_id"].to_list() == [*typed.items["item_id"], "new"]
    assert rows(found)[-1][:2] == ("u3", "new")


def test_a_source_without_times_is_refused(typed: Bundle, tmp_path: Path) -> None:
    pl.DataFrame(EVENTS, schema=["user_id", "item_id", "t", "event_type"], orient="row").drop("t").write_csv(
        tmp_path / "interactions.csv"
    )
    with pytest.raises(DataError, match="a retraining needs interactions with times since 1970"):
        read(typed, tmp_path)


def test_events_of_a_day_may_lack_types_and_may_be_equal(typed: Bundle, tmp_path: Path) -> None:
    seen_twice = [("u1", "100", START, "buy"), ("u1", "100", START, "buy"), ("u1", "101", START + 60, "view")]
    settings = DatasetSettings(event_types={"buy": 2.0, "refund": "exclude"})
    found, _ = read(typed, exported(tmp_path, seen_twice), settings=settings)
    assert rows(found) == [("u1", "100", START, 2.0, 2), ("u1", "101", START + 60, 1.0, 0)]
