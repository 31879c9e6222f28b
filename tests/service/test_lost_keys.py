"""Redis loses or garbles any of its keys: every replica notices, and what one of them knows comes back."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient

from benchmarks.support.running import RedisServer
from rqrec.models.bundle.bundle import Bundle
from rqrec.models.items.item_tokenizer import ItemTokenizer
from rqrec.service.app import create_app
from tests.service.conftest import settings_for, until

HEADERS = {"Authorization": "Bearer token"}
EAGER = {"redis_pause_s": 0.05, "redis_check_s": 0.1, "catalogue_poll_s": 0.02, "redis_timeout_s": 2.0}
WRITTEN = 12  # items, every third of which is deleted again


@contextmanager
def replica(bundles: Path, server: RedisServer, **fields: object) -> Iterator[TestClient]:
    settings = settings_for(bundles, **{"redis_url": server.url, "admin_token": "token", **EAGER, **fields})
    with TestClient(create_app(settings), headers=HEADERS) as client:
        yield client


@pytest.fixture(scope="module")
def film(bundle: Bundle) -> dict[str, Any]:
    attributes = {"title": "Horror 900 (1985)", "genres": ["Horror"], "year": 1985}
    return {"attributes": attributes, "text_vector": list(np.linspace(-1, 1, ItemTokenizer(bundle).text_width))}


@pytest.fixture
def prefix(bundle: Bundle) -> str:
    return f"rqrec:{{{bundle.manifest.version}}}"


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
    assert len({row for row, _ in found.values()}) == len(found) == len(places)
    return found


def table(server: RedisServer, prefix: str) -> dict[str, tuple[Any, ...]]:
    """The same as other programs find it in Redis."""
    ids, items = _client(server).hgetall(f"{prefix}:semantic-ids"), _client(server).hgetall(f"{prefix}:items")
    assert set(ids.values()) == items.keys()
    stored = {item_id: (text, json.loads(items[text])) for item_id, text in ids.items()}
    assert all(item_id == one["item_id"] for item_id, (_, one) in stored.items())
    return {item_id: (tuple(map(int, text.split("-"))), one["payload"]) for item_id, (text, one) in stored.items()}


def is_in_redis(server: RedisServer, prefix: str, expected: dict[str, tuple[Any, ...]]) -> bool:
    try:
        return table(server, prefix) == {item_id: (row, json.loads(text)) for item_id, (row, text) in expected.items()}
    except Exception:  # something else stands there
        return False


def _client(server: RedisServer) -> Any:
    return server.client


def deleted(server: RedisServer, key: str) -> None:
    _client(server).delete(key)


def of_a_wrong_type(server: RedisServer, key: str) -> None:
    is_text = _client(server).type(key) == "string"
    _client(server).delete(key)
    if is_text:
        _client(server).rpush(key, "a list")
    else:
        _client(server).set(key, "a text")


def truncated(server: RedisServer, key: str) -> None:
    kind = _client(server).type(key)
    if kind == "hash":
        names = sorted(_client(server).hkeys(key))
        _client(server).hdel(key, *names[: (len(names) + 1) // 2])
    elif kind == "stream":
        for position, _ in _client(server).xrevrange(key, count=3):
            _client(server).xdel(key, position)
    else:
        _client(server).set(key, str(_client(server).get(key))[:5])


def garbled(server: RedisServer, key: str) -> None:
    kind = _client(server).type(key)
    if kind == "hash":
        for name, value in _client(server).hgetall(key).items():
            _client(server).hset(key, name, value[: len(value) // 2] + "\x00 ?")
    elif kind == "stream":
        position, _ = _client(server).xrevrange(key, count=2)[1]
        _client(server).xdel(key, position)
        _client(server).xadd(key, {"change": "{", "prev": "nonsense", b"\xff": b"\xfe"})
    else:
        _client(server).set(key, b"\xff{[")


KEYS = ("changes", "entries", "log", "items", "semantic-ids", "whole", "carried", "publisher", "writer", "reading")
DAMAGES = (deleted, of_a_wrong_type, truncated, garbled)


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
@pytest.mark.parametrize("key", KEYS)
def test_what_happens_to_one_key_is_put_right_and_loses_nothing(
    bundles: Path,
    redis_server: RedisServer,
    film: dict[str, Any],
    prefix: str,
    key: str,
    damage: Callable[[RedisServer, str], None],
) -> None:
    with replica(bundles, redis_server, catalogue_save_every=5) as one, replica(bundles, redis_server) as other:
        for number in range(WRITTEN):
            put((one, other)[number % 2], f"new-{number}", film, number)
            if number % 3 == 0:
                assert one.delete(f"/items/new-{number}").status_code in {204, 404}
        one.delete("/items/100")
        until(lambda: catalogue(one) == catalogue(other))
        before = catalogue(one)
        damage(redis_server, f"{prefix}:{key}")
        put(one, "after", film, 2000)
        until(lambda: catalogue(one) == catalogue(other) and "after" in catalogue(one))
        until(lambda: is_in_redis(redis_server, prefix, catalogue(one)))
        now = catalogue(one)
        assert {item_id: text for item_id, (_, text) in now.items() if item_id != "after"} == {
            item_id: text for item_id, (_, text) in before.items()
        }
        with replica(bundles, redis_server) as later:
            until(lambda: later.get("/readyz").status_code == 200)
            until(lambda: catalogue(later) == catalogue(one) == catalogue(other))
            assert {i: text for i, (_, text) in catalogue(later).items()} == {i: text for i, (_, text) in now.items()}
            put(later, "last", film, 2001)
            until(lambda: "last" in catalogue(one) and "last" in catalogue(other))
            versions = {client.get("/readyz").json()["catalogue_version"] for client in (one, other, later)}
            assert len(versions) == 1
        assert not [name for name in redis_server.client.scan_iter() if "staged" in name]
