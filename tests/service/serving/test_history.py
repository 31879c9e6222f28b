import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from fastapi.testclient import TestClient

from rqrec.client import HistoryEntry
from rqrec.models.bundle.bundle import read_bundle
from rqrec.models.bundle.layout import FORMAT
from rqrec.models.search.history.transitions import SESSION_GAP_S
from rqrec.service.app import create_app
from rqrec.service.serving.history import EventTypes, History
from rqrec.training.publish import BUNDLES
from rqrec.training.run import Run
from rqrec.training.runtime.workspace import Workspace
from tests.conftest import no_search_graph, small_settings
from tests.service.conftest import settings_for

TYPES = EventTypes({"buy": 1, "view": 2}, frozenset({"return"}))


def entry(item_id: str, kind: str | None = None, at: Any = None) -> HistoryEntry:
    return HistoryEntry(item_id=item_id, type=kind, at=at)


def test_plain_ids_have_no_types() -> None:
    assert TYPES.read(["a", "b"]) == History(["a", "b"])
    assert TYPES.read([]) == History([])


def test_types_become_numbers_and_unknown_ones_0() -> None:
    history = TYPES.read([entry("a", "view"), entry("b", "swipe"), entry("c"), entry("d", "buy")])
    assert history.item_ids == ["a", "b", "c", "d"]
    assert history.types is not None
    assert history.types.tolist() == [2, 0, 0, 1]


def test_a_history_without_a_type_that_the_model_knows_has_no_numbers() -> None:
    assert TYPES.read([entry("a", "swipe"), entry("b")]) == History(["a", "b"], excluded=[])


def test_an_excluding_type_is_not_read() -> None:
    history = TYPES.read([entry("a", "return"), entry("b", "buy")])
    assert (history.item_ids, history.excluded) == (["b"], ["a"])
    assert history.types is not None
    assert history.types.tolist() == [1]


def test_an_item_whose_last_event_is_a_dislike_is_read_and_not_recommended() -> None:
    types = EventTypes({"buy": 1, "dislike": 2}, frozenset({"return"}), frozenset({"dislike"}))
    history = types.read([entry("a", "dislike"), entry("b", "buy"), entry("a", "buy"), entry("b", "dislike")])
    assert (history.item_ids, history.excluded) == (["a", "b", "a", "b"], ["b"])
    assert history.types is not None
    assert history.types.tolist() == [2, 1, 1, 2]


def test_a_model_without_types_reads_the_items() -> None:
    assert EventTypes({}, frozenset()).read([entry("a", "view")]) == History(["a"], excluded=[])


@pytest.mark.parametrize(
    "at", [1_700_000_000, "2023-11-14T22:13:20Z", "2023-11-14T23:13:20.5+01:00", "2023-11-14t22:13:20z"]
)
def test_a_request_is_in_the_session_of_the_last_item_that_is_read(at: object) -> None:
    entries = [entry("a", at=5), entry("b", at=at), entry("c", "return", at=1_800_000_000)]
    assert TYPES.read(entries, 1_700_000_060).in_session
    assert TYPES.read(entries, 1_699_999_000).in_session  # the clocks differ
    assert not TYPES.read(entries, 1_700_000_060 + SESSION_GAP_S).in_session
    assert not TYPES.read(entries).in_session
    assert not TYPES.read([*entries, entry("d")], 1_700_000_060).in_session


def test_a_request_is_made_now_unless_it_says_otherwise() -> None:
    assert TYPES.read([entry("a", at=time.time() - 60)]).in_session


@pytest.fixture(scope="module")
def typed_client(shop: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """A service of a model that has learned the types buy, dislike and view, and that returns exclude."""
    root = tmp_path_factory.mktemp("typed")
    (root / "shop").mkdir()
    films = pl.read_csv(shop / "movies.csv").rename({"movieId": "item_id"})
    films.write_csv(root / "shop" / "items.csv")
    row = pl.int_range(pl.len())
    kinds = {7: "return", 11: "dislike", 2: "buy"}
    kind = pl.coalesce(*(pl.when(row % every == 0).then(pl.lit(name)) for every, name in kinds.items()), pl.lit("view"))
    log = pl.read_csv(shop / "ratings.csv").select("userId", "timestamp", item_id="movieId", event_type=kind)
    log.write_csv(root / "shop" / "interactions.csv")
    settings = small_settings(
        root / "shop", "DecoderSettings.epochs = 2", "DatasetSettings.event_types = {'return': 'exclude', 'buy': 2}"
    )
    with no_search_graph():
        manifest = read_bundle(Run(Workspace(root / "work", root), settings).bundle).manifest
    assert manifest.format == FORMAT
    assert tuple(manifest.event_types) == ("buy", "dislike", "view")
    assert (tuple(manifest.excluding_types), tuple(manifest.disliking_types)) == (("return",), ("dislike",))
    with TestClient(create_app(settings_for(root / "work" / BUNDLES, backend="torch", device="cpu"))) as client:
        yield client


def scores(client: TestClient, *history: Any, **more: Any) -> dict[str, float]:
    response = client.post("/recommend", json={"history": list(history), "k": 64, **more})
    assert response.status_code == 200, response.text
    return {item["item_id"]: item["score"] for item in response.json()["items"]}


def test_types_change_the_scores_and_unknown_types_are_as_none(typed_client: TestClient) -> None:
    plain = scores(typed_client, "116", "117")
    assert scores(typed_client, "116", {"item_id": "117"}) == plain
    assert scores(typed_client, {"item_id": "116", "type": "swipe"}, "117") == plain
    bought = scores(typed_client, "116", {"item_id": "117", "type": "buy"})
    assert bought.keys() == plain.keys()
    assert bought != plain
    assert bought != scores(typed_client, "116", {"item_id": "117", "type": "view"})


def test_an_excluding_entry_only_excludes(typed_client: TestClient) -> None:
    returned = scores(typed_client, "116", {"item_id": "117", "type": "return"})
    alone = scores(typed_client, "116")
    assert alone.keys() - returned.keys() == {"117"}
    assert {item: alone[item] for item in returned} == pytest.approx(returned, abs=1e-4)


def test_a_disliked_item_is_not_returned_even_if_the_history_may_be(typed_client: TestClient) -> None:
    history = ["116", {"item_id": "117", "type": "dislike"}]
    allowed = scores(typed_client, "116", {"item_id": "117", "type": "buy"}, exclude_history=False)
    assert {"116", "117"} <= allowed.keys()
    assert allowed.keys() - scores(typed_client, *history, exclude_history=False).keys() == {"117"}
    bought_later = [*history, {"item_id": "117", "type": "buy"}]
    assert "117" in scores(typed_client, *bought_later, exclude_history=False)


def test_a_model_without_types_takes_entries_too(plain_client: TestClient) -> None:
    assert scores(plain_client, "116", {"item_id": "117", "type": "buy"}) == scores(plain_client, "116", "117")


@pytest.mark.parametrize(
    ("entry", "pointer"),
    [
        ({"item_id": 5}, "/history/1/item_id"),
        ({"type": "x"}, "/history/1/item_id"),
        ({"item_id": "1", "kind": 1}, "/history/1/kind"),
        ({"item_id": "1", "at": -1}, "/history/1/at"),
        ({"item_id": "1", "at": "2023-11-14T22:13:20"}, "/history/1/at"),
        ({"item_id": "1", "at": "yesterday"}, "/history/1/at"),
    ],
)
def test_a_bad_entry_is_named(plain_client: TestClient, entry: dict[str, object], pointer: str) -> None:
    problem = plain_client.post("/recommend", json={"history": ["1", entry]}).json()
    assert [part["pointer"] for part in problem["errors"]] == [pointer]
