"""The service on a Redis that is slow, stopped, full or protected, and on Sentinels and a cluster."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from redis import RedisCluster

from benchmarks.support.running import RedisServer
from rqrec.models.bundle.bundle import Bundle
from rqrec.service.app import create_app
from rqrec.service.composition import redis_options
from rqrec.service.redis.client import connect
from rqrec.service.settings import Settings
from tests.service.conftest import settings_for, until

BODY = {"history": ["116", "117"], "k": 5}


@contextmanager
def service(bundles: Path, url: str, **fields: object) -> Iterator[TestClient]:
    """The service on a Redis that it looks after ten times a second."""
    eager = {"redis_pause_s": 0.0, "redis_check_s": 0.1, "redis_retries": 0}
    settings = settings_for(bundles, redis_url=url, **{"redis_timeout_s": 0.5, **eager, **fields})
    with TestClient(create_app(settings)) as client:
        yield client


@pytest.fixture
def client(bundles: Path, redis_server: RedisServer) -> Iterator[TestClient]:
    with service(bundles, redis_server.url) as client:
        yield client


@pytest.fixture
def prefix(bundle: Bundle) -> str:
    return f"rqrec:{{{bundle.manifest.version}}}"


def answer(client: TestClient) -> tuple[list[str], str | None]:
    response = client.post("/recommend", json=BODY)
    assert response.status_code == 200, response.text
    return [item["item_id"] for item in response.json()["items"]], response.json()["fallback"]


def metric(client: TestClient, name: str) -> float:
    lines = client.get("/metrics").text.splitlines()
    return float(next(line for line in lines if line.startswith(f"{name} ")).split()[1])


def test_no_answer_asks_redis(bundles: Path, redis_server: RedisServer) -> None:
    """Invariant I15: a request is answered from the snapshot alone."""

    def commands() -> int:
        return int(redis_server.client.info("stats")["total_commands_processed"])

    with service(bundles, redis_server.url, redis_check_s=600, rollout_poll_s=600, catalogue_poll_s=600) as client:
        before = commands()
        for _ in range(5):
            (first, *_), fallback = answer(client)
            assert fallback is None
            assert client.get(f"/items/{first}").status_code == 200
        assert commands() == before + 1  # the question itself


def test_a_redis_that_is_slow_and_in_time_slows_no_answer(
    bundles: Path, redis_server: RedisServer, slow_redis: Callable[[RedisServer, float], str]
) -> None:
    """Invariant I15: a slow Redis does not slow down answers."""
    with service(bundles, slow_redis(redis_server, 0.2), redis_timeout_s=2.0) as client:
        answer(client)
        begin = time.monotonic()
        for _ in range(20):
            assert answer(client)[1] is None
        assert time.monotonic() - begin < 20 * 0.2 / 2


def test_redis_stopped_and_back_empty(client: TestClient, redis_server: RedisServer, prefix: str) -> None:
    before, fallback = answer(client)
    assert fallback is None
    assert metric(client, "rqrec_redis_up") == 1
    redis_server.stop()
    until(lambda: answer(client) == (before, "degraded"))
    assert metric(client, "rqrec_redis_up") == 0
    assert metric(client, "rqrec_redis_errors_total") >= 1
    assert client.get("/readyz").status_code == 200
    redis_server.start()  # empty
    until(lambda: redis_server.client.hlen(f"{prefix}:items") == 64)
    until(lambda: answer(client) == (before, None))
    assert metric(client, "rqrec_redis_up") == 1


def test_a_redis_that_stands_still_slows_nobody(bundles: Path, redis_server: RedisServer) -> None:
    rare = {"redis_pause_s": 1.0, "redis_check_s": 600, "rollout_poll_s": 600}
    with service(bundles, redis_server.url, redis_timeout_s=0.2, **rare) as client:
        before, _ = answer(client)
        begin = time.monotonic()
        redis_server.client.client_pause(2000)
        until(lambda: answer(client) == (before, "degraded"))
        assert time.monotonic() - begin < 1.5
        until(lambda: answer(client) == (before, None))


def test_redis_out_of_memory(bundles: Path, redis_server: RedisServer) -> None:
    redis_server.client.config_set("maxmemory", "1")
    with service(bundles, redis_server.url) as client:
        items, _ = answer(client)
        assert len(items) == 5
        assert metric(client, "rqrec_redis_errors_total") >= 1
        redis_server.client.config_set("maxmemory", "0")
        until(lambda: answer(client) == (items, None) and bool(redis_server.client.keys("*:whole")))


def test_a_replica_that_starts_without_redis_answers_and_is_not_ready_until_it_has_caught_up(
    bundles: Path, redis_server: RedisServer
) -> None:
    redis_server.stop()
    with service(bundles, redis_server.url) as client:
        items, fallback = answer(client)
        assert len(items) == 5
        assert fallback == "degraded"
        assert client.get("/readyz").status_code == 503
        assert metric(client, "rqrec_catalogue_current") == 0
        redis_server.start()
        until(lambda: client.get("/readyz").status_code == 200)
        until(lambda: answer(client) == (items, None))
        assert metric(client, "rqrec_catalogue_current") == 1
        redis_server.stop()
        until(lambda: answer(client) == (items, "degraded"))
        assert client.get("/readyz").status_code == 200  # it was, and answers better than nobody
    with service(bundles, redis_server.url, ready_without_redis=True) as client:
        assert client.get("/readyz").status_code == 200


def test_an_acl_user_by_url(bundles: Path, redis_server: RedisServer) -> None:
    redis_server.client.acl_setuser(
        "shop", enabled=True, passwords=["+hunter2"], keys=["rqrec:*"], categories=["+@all"]
    )
    with service(bundles, redis_server.url.replace("redis://", "redis://shop:hunter2@")) as client:
        assert answer(client)[1] is None
    with service(bundles, redis_server.url.replace("redis://", "redis://shop:wrong@")) as client:
        assert answer(client)[1] == "degraded"


def test_a_sentinel_names_the_master(bundles: Path, redis_server: RedisServer, start_redis: Callable[..., int]) -> None:
    sentinel = start_redis("--sentinel", config=f"sentinel monitor shop 127.0.0.1 {redis_server.port} 1\n")
    with service(bundles, f"redis+sentinel://127.0.0.1:{sentinel}/shop/0") as client:
        assert answer(client)[1] is None
    assert redis_server.client.keys("*:whole")


def test_a_cluster_holds_the_table_the_changes_and_the_rates(bundles: Path, cluster: list[int], prefix: str) -> None:
    url = "redis+cluster://" + ",".join(f"127.0.0.1:{port}" for port in cluster[:2])
    fields = {"admin_token": "token", "catalogue_save_every": 2, "catalogue_poll_s": 0.02, "rate_limit": "500/minute"}
    with service(bundles, url, **fields) as one, service(bundles, url, **fields) as other:
        items, fallback = answer(one)
        assert fallback is None
        with RedisCluster(host="127.0.0.1", port=cluster[2], decode_responses=True) as redis:
            assert redis.hlen(f"{prefix}:items") == 64
            headers = {"Authorization": "Bearer token"}
            for item_id in items[:3]:
                assert one.delete(f"/items/{item_id}", headers=headers).status_code == 204
            until(lambda: set(items[:3]).isdisjoint(answer(other)[0]))
            until(lambda: redis.hlen(f"{prefix}:entries") >= 2)  # saved, and the stream cut
            assert redis.hlen(f"{prefix}:items") == 61
            assert list(redis.scan_iter("rqrec:rate:*"))
    with service(bundles, url, **fields) as restarted:
        assert set(items[:3]).isdisjoint(answer(restarted)[0])


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("http://localhost", "must begin with one of redis, rediss, unix"),
        ("redis+sentinel://localhost", "redis+sentinel://host:port,host:port/<master>/<db>"),
        ("redis+cluster://localhost/1", "redis+cluster://host:port,host:port, without a database"),
    ],
)
def test_a_url_that_names_no_redis(url: str, message: str) -> None:
    with pytest.raises(ValueError, match=message.replace("+", r"\+")):
        connect(redis_options(Settings.model_validate({"redis_url": url})))


def test_tls_by_url() -> None:
    client = connect(redis_options(Settings.model_validate({"redis_url": "rediss://u:p@localhost:6380/1"})))
    assert isinstance(client.connection_pool.connection_kwargs["db"], int)
    assert client.connection_pool.connection_class.__name__ == "SSLConnection"


def test_a_redis_that_evicts_keys_is_logged_once(
    bundles: Path, redis_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    redis_server.client.config_set("maxmemory-policy", "allkeys-lru")
    with service(bundles, redis_server.url) as one:
        until(lambda: "rqrec_redis_evicts 1.0" in one.get("/metrics").text)
        time.sleep(0.5)
        assert caplog.text.count("Redis drops keys") == 1
