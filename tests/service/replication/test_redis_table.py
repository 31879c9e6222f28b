"""The copy of the item table in Redis."""

import json
import time
from pathlib import Path
from typing import Any

import pytest

from benchmarks.support.running import RedisServer
from rqrec.models.bundle.bundle import Bundle
from tests.service.conftest import until
from tests.service.replication.http_replicas import catalogue, is_in_redis, put, replica


def test_items_written_while_the_table_is_published_are_in_it(
    bundles: Path,
    redis_server: RedisServer,
    film: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    prefix: str,
) -> None:
    monkeypatch.setattr("rqrec.service.replication.redis_table.PUBLISH_CHUNK", 2)
    with replica(bundles, redis_server) as one, replica(bundles, redis_server) as other:
        for number in range(8):
            redis_server.client.delete(f"{prefix}:items")
            put((one, other)[number % 2], f"new-{number}", film, number)
            time.sleep(0.05)
        until(lambda: catalogue(one) == catalogue(other))
        until(lambda: is_in_redis(redis_server, prefix, catalogue(one)))


def test_the_table_is_in_redis_under_the_models_version(
    bundles: Path, redis_server: RedisServer, bundle: Bundle, prefix: str
) -> None:
    with replica(bundles, redis_server, admin_token=None):
        row = bundle.items.row(3, named=True)
        text = "-".join(map(str, bundle.learned.codes_RL[3]))
        assert redis_server.client.hget(f"{prefix}:semantic-ids", row["item_id"]) == text
        stored = json.loads(str(redis_server.client.hget(f"{prefix}:items", text)))
        assert stored["item_id"] == row["item_id"]
        assert stored["payload"]["title"] == row["title"]
        assert redis_server.client.hlen(f"{prefix}:items") == 64
        for key in ("items", "semantic-ids", "whole"):
            assert 0 < int(str(redis_server.client.ttl(f"{prefix}:{key}"))) <= 86_400
        assert sorted(redis_server.client.keys()) == [
            "rqrec:last-active",
            *(f"{prefix}:{key}" for key in ("changes", "items", "log", "semantic-ids", "whole")),
        ]


def test_two_replicas_write_the_table_once(bundles: Path, redis_server: RedisServer, prefix: str) -> None:
    with replica(bundles, redis_server), replica(bundles, redis_server):
        calls = redis_server.client.info("commandstats")["cmdstat_rename"]["calls"]
        assert calls == 2
        assert redis_server.client.hlen(f"{prefix}:items") == 64
