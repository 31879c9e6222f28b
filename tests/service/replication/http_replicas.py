"""Replicas as the whole service, written to over HTTP, and the item table that they keep in Redis."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fastapi.testclient import TestClient

from benchmarks.support.running import RedisServer
from rqrec.service.app import create_app
from tests.service.conftest import settings_for

HEADERS = {"Authorization": "Bearer token"}
EAGER = {"redis_pause_s": 0.05, "redis_check_s": 0.1, "catalogue_poll_s": 0.02, "redis_timeout_s": 2.0}


@contextmanager
def replica(bundles: Path, server: RedisServer, **fields: object) -> Iterator[TestClient]:
    settings = settings_for(bundles, **{"redis_url": server.url, "admin_token": "token", **EAGER, **fields})
    with TestClient(create_app(settings), headers=HEADERS) as client:
        yield client


def put(client: TestClient, item_id: str, film: dict[str, Any], year: int) -> None:
    response = client.put(f"/items/{item_id}", json={**film, "attributes": {**film["attributes"], "year": year}})
    assert response.is_success, response.text


def catalogue(client: TestClient) -> dict[str, tuple[Any, ...]]:
    """Every item with its semantic ID and attributes; no two have one semantic ID."""
    app: Any = client.app
    snapshot = app.state.runtime.deployment.active.snapshot
    places = snapshot.table.places
    codes = map(tuple, snapshot.table.codes_of(places).tolist())
    found = {item.item_id: (row, item.payload) for item, row in zip(snapshot.table.items(places), codes, strict=True)}
    assert len({row for row, _ in found.values()}) == len(found) == len(places)  # Invariant I12: no ID twice
    return found


def table(server: RedisServer, prefix: str) -> dict[str, tuple[Any, ...]]:
    """The same, as other programs find it in Redis."""
    client: Any = server.client
    ids, items = client.hgetall(f"{prefix}:semantic-ids"), client.hgetall(f"{prefix}:items")
    assert set(ids.values()) == items.keys()
    stored = {item_id: (text, json.loads(items[text])) for item_id, text in ids.items()}
    assert all(item_id == one["item_id"] for item_id, (_, one) in stored.items())
    return {item_id: (tuple(map(int, text.split("-"))), one["payload"]) for item_id, (text, one) in stored.items()}


def is_in_redis(server: RedisServer, prefix: str, expected: dict[str, tuple[Any, ...]]) -> bool:
    try:
        return table(server, prefix) == {item_id: (row, json.loads(text)) for item_id, (row, text) in expected.items()}
    except Exception:  # something else stands there
        return False
