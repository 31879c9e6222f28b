"""Redis loses or garbles any of its keys: the replicas notice it and repair the key."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks.support.running import RedisServer
from tests.service.conftest import until
from tests.service.replication.http_replicas import catalogue, is_in_redis, put, replica

WRITTEN = 12  # items, every third of which is deleted again


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
def test_a_damaged_key_is_repaired_and_no_change_is_lost(
    bundles: Path,
    redis_server: RedisServer,
    film: dict[str, Any],
    prefix: str,
    key: str,
    damage: Callable[[RedisServer, str], None],
) -> None:
    """Damage to one key is repaired, and no change is lost.

    Invariant I3: a missing event is noticed. Invariant I5: a missing or altered entry or header is noticed. Invariant
    I9: no staged key stays. Invariant I10: what the replicas know is written back.
    """
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
