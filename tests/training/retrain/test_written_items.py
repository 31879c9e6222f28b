"""The whole way of an item: written to a running service, chosen there, exported, learnt, and recommended."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from benchmarks.support.running import RedisServer, running_redis
from rqrec.models.bundle.bundle import read_bundle
from rqrec.models.bundle.store import point_current
from rqrec.service.export_events.__main__ import main as export
from tests.service.replication.http_replicas import replica
from tests.text_encoders import with_text_encoder
from tests.training.retrain.conftest import GENRES, Shop, retrain

TWINS, GIVEN, GONE = ("Horror twin 1", "Horror twin 2"), "War given", "Romance gone"
USERS = 24


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    (tmp_path / "redis").mkdir()
    with running_redis(tmp_path / "redis") as server:
        yield server


def film(name: str, **more: object) -> dict[str, Any]:
    return {"attributes": {"title": name, "genres": [name.split(maxsplit=1)[0]], "year": 1990}, **more}


def write_and_choose(client: TestClient) -> dict[str, list[int]]:
    """Writes films and sends events on them, and returns the semantic IDs that the service gave."""
    twin = film("Horror twin")  # the same content twice, so the semantic IDs differ in the collision code alone
    films = dict.fromkeys(TWINS, twin) | {GIVEN: film(GIVEN, text_vector=[0.5, -1.0, 2.0, 0.25]), GONE: film(GONE)}
    given = {name: client.put(f"/items/{name}", json=one).json()["semantic_id"] for name, one in films.items()}
    assert given[TWINS[0]][:-1] == given[TWINS[1]][:-1]
    chosen = list(films)
    events = [
        {"user_id": f"new-{user}", "item_id": name, "type": "purchase"}
        for user in range(USERS)
        for name in (f"{GENRES[user % 4]} {user % 5}", chosen[user % len(chosen)])
    ]
    assert client.post("/events", json={"events": events}).json()["accepted"] == len(events)
    client.delete(f"/items/{GONE}").raise_for_status()
    return {name: semantic_id for name, semantic_id in given.items() if name != GONE}


@pytest.mark.usefixtures("without_search_graph")
def test_written_items_are_learnt_with_the_semantic_ids_of_the_service_and_recommended(
    timed_shop: Shop, redis: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, bundles = timed_shop.bundle, tmp_path / "bundles"
    with_text_encoder(first, bundles / first.manifest.version)
    point_current(bundles, first.manifest.version)
    monkeypatch.setenv("RQREC_REDIS_URL", redis.url)
    with replica(bundles, redis, backend="torch") as client:
        given = write_and_choose(client)
        export([str(tmp_path / "events")])
        assert retrain(bundles, tmp_path / "events", timed_shop.first, work=tmp_path / "work") == 0
        retrained = read_bundle(bundles)
        rows = len(first.items)
        codes = dict(zip(retrained.items["item_id"][rows:], retrained.learned.codes_RL[rows:].tolist(), strict=True))
        assert codes == given

        client.post(f"/models/{retrained.manifest.version}/activate").raise_for_status()
        body = {"history": ["War 1"], "k": 1, "filter": {"title": {"any_of": [GIVEN]}}}
        reply = client.post("/recommend", json=body).raise_for_status().json()
    assert reply["model_version"] == retrained.manifest.version
    assert [one["item_id"] for one in reply["items"]] == [GIVEN]
