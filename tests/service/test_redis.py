import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from models.bundle import Bundle
from service.app import create_app
from tests.service.conftest import RedisServer, settings_for

BODY = {"history": ["116", "117"], "k": 5}


@pytest.fixture
def client(bundles: Path, redis_server: RedisServer) -> Iterator[TestClient]:
    settings = settings_for(bundles, redis_url=redis_server.url, redis_timeout_s=0.5, redis_pause_s=0.0)
    with TestClient(create_app(settings)) as client:
        yield client


def answer(client: TestClient) -> tuple[list[str], str | None]:
    response = client.post("/recommend", json=BODY)
    assert response.status_code == 200, response.text
    return [item["item_id"] for item in response.json()["items"]], response.json()["fallback"]


def metric(client: TestClient, name: str) -> float:
    lines = client.get("/metrics").text.splitlines()
    return float(next(line for line in lines if line.startswith(f"{name} ")).split()[1])


def test_the_table_stands_in_redis_under_the_models_version(
    client: TestClient, redis_server: RedisServer, bundle: Bundle
) -> None:
    prefix = f"rqrec:{{{bundle.manifest.version}}}"
    row = bundle.items.row(3, named=True)
    text = "-".join(map(str, row["semantic_id"]))
    assert redis_server.client.hget(f"{prefix}:semantic-ids", row["item_id"]) == text
    stored = json.loads(str(redis_server.client.hget(f"{prefix}:items", text)))
    assert stored["item_id"] == row["item_id"]
    assert stored["payload"]["title"] == row["title"]
    assert redis_server.client.hlen(f"{prefix}:items") == 64


def test_answers_come_from_redis(client: TestClient, redis_server: RedisServer, bundle: Bundle) -> None:
    (first, *_), _ = answer(client)
    key = f"rqrec:{{{bundle.manifest.version}}}:items"
    text = str(redis_server.client.hget(f"rqrec:{{{bundle.manifest.version}}}:semantic-ids", first))
    redis_server.client.hset(key, text, json.dumps({"item_id": first, "payload": {"title": "from Redis"}}))
    assert client.get(f"/items/{first}").json()["payload"] == {"title": "from Redis"}


def test_the_own_copy_answers_while_redis_is_away_and_redis_when_it_is_back(
    client: TestClient, redis_server: RedisServer
) -> None:
    before, fallback = answer(client)
    assert fallback is None
    assert metric(client, "rqrec_redis_up") == 1
    redis_server.stop()
    assert answer(client) == (before, "degraded")
    assert metric(client, "rqrec_redis_up") == 0
    assert metric(client, "rqrec_redis_errors_total") >= 1
    assert client.get("/readyz").status_code == 200
    redis_server.start()  # empty
    assert answer(client) == (before, None)
    assert metric(client, "rqrec_redis_up") == 1


def test_foreign_content_in_redis_is_not_believed(
    client: TestClient, redis_server: RedisServer, bundle: Bundle
) -> None:
    before, _ = answer(client)
    prefix = f"rqrec:{{{bundle.manifest.version}}}"
    for key in redis_server.client.hkeys(f"{prefix}:items"):
        redis_server.client.hset(f"{prefix}:items", key, "nonsense")
    redis_server.client.hset(f"{prefix}:semantic-ids", "116", "a-b")
    assert answer(client) == (before, None)
    redis_server.client.delete(f"{prefix}:items")
    redis_server.client.set(f"{prefix}:items", "a string where a hash should be")
    assert answer(client) == (before, "degraded")


def test_starts_without_redis(bundles: Path, redis_server: RedisServer) -> None:
    redis_server.stop()
    with TestClient(create_app(settings_for(bundles, redis_url=redis_server.url))) as client:
        items, fallback = answer(client)
    assert len(items) == 5
    assert fallback == "degraded"
