"""Redis falls back, fills up, stands still or is killed while a replica puts back what was lost."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks.support.running import RedisServer
from rqrec.models.items.item_tokenizer import ItemTokenizer
from rqrec.service.catalogue.changes import Delete
from rqrec.service.catalogue.snapshot import Snapshot
from tests.service.conftest import until
from tests.service.test_live_catalogue import Replica, contents, put, two_replicas
from tests.service.test_live_catalogue import published as published  # noqa: PLC0414 - a fixture
from tests.service.test_live_catalogue import tokenizer as tokenizer  # noqa: PLC0414 - a fixture
from tests.service.test_lost_keys import catalogue, is_in_redis, replica
from tests.service.test_lost_keys import film as film  # noqa: PLC0414 - a fixture
from tests.service.test_lost_keys import prefix as prefix  # noqa: PLC0414 - a fixture
from tests.service.test_lost_keys import put as put_item


def keys(published: Snapshot) -> dict[str, str]:
    return {name: f"rqrec:{{{published.version}}}:{name}" for name in ("changes", "entries", "log", "carried")}


async def agree(replicas: list[Replica]) -> None:
    for _ in range(400):
        for one in replicas:
            await one.live.catch_up()
        if contents(replicas[0].live.snapshot) == contents(replicas[1].live.snapshot):
            return
        await asyncio.sleep(0.02)
    raise AssertionError("the replicas do not agree")


def dumped(server: RedisServer) -> dict[str, bytes]:
    raw = server.client.connection_pool.connection_kwargs | {"decode_responses": False}
    with type(server.client)(**{name: raw[name] for name in ("host", "port", "db")}) as client:
        return {key.decode(): client.dump(key) for key in client.scan_iter()}


def restored(server: RedisServer, state: dict[str, bytes]) -> None:
    with server.client.pipeline(transaction=True) as pipeline:
        pipeline.flushall()
        for key, value in state.items():
            pipeline.restore(key, 0, value)
        pipeline.execute()


@pytest.mark.parametrize(
    "position", ["18446744073709551615-18446744073709551615", "18446744073709551614-1", "1000000000000000-0"]
)
@pytest.mark.parametrize("is_deleted", [False, True])
def test_an_event_at_a_position_that_no_clock_gives_stops_no_write(
    published: Snapshot, tokenizer: ItemTokenizer, redis_server: RedisServer, position: str, is_deleted: bool
) -> None:
    async def scenario() -> None:
        async with two_replicas(published, tokenizer, redis_server) as (one, other):
            await one.live.write(put("before", 1, published, tokenizer))
            stream = keys(published)["changes"]
            redis_server.client.xadd(stream, {"change": "z"}, id=position)
            if is_deleted:  # its position stays the stream's last
                redis_server.client.xdel(stream, position)
            outcome = await one.live.write(put("after", 2, published, tokenizer))
            assert outcome.semantic_id
            await other.live.write(put("later", 3, published, tokenizer))
            await agree([one, other])
            assert {"before", "after", "later"} <= contents(other.live.snapshot).keys()

    asyncio.run(scenario())


@pytest.mark.parametrize("writes_before_anybody_looks", [0, 1, 4])
def test_a_failover_to_a_copy_that_lagged_loses_nothing(
    published: Snapshot, tokenizer: ItemTokenizer, redis_server: RedisServer, writes_before_anybody_looks: int
) -> None:
    async def scenario() -> None:
        async with two_replicas(published, tokenizer, redis_server, catalogue_poll_s=60.0) as replicas:
            one, behind = (replica.live for replica in replicas)
            for number in range(5):
                await one.write(put(f"item {number}", number, published, tokenizer))
            await behind.catch_up()
            copy = dumped(redis_server)
            for number in range(3):
                await one.write(put(f"late {number}", number, published, tokenizer))
            await one.write(Delete("item 0"))
            restored(redis_server, copy)
            for number in range(writes_before_anybody_looks):
                await behind.write(put(f"later {number}", number, published, tokenizer))
            await agree(replicas)
            expected = contents(published).keys() | {f"item {number}" for number in range(1, 5)}
            expected |= {f"late {number}" for number in range(3)}
            expected |= {f"later {number}" for number in range(writes_before_anybody_looks)}
            assert contents(one.snapshot).keys() == expected
            newcomer = await Replica.start(published, tokenizer, one._settings)
            assert contents(newcomer.live.snapshot) == contents(one.snapshot)
            await newcomer.crash()

    asyncio.run(scenario())


def test_replicas_that_wrote_apart_come_together_without_a_shared_semantic_id(
    published: Snapshot, tokenizer: ItemTokenizer, redis_server: RedisServer
) -> None:
    async def scenario() -> None:
        async with two_replicas(published, tokenizer, redis_server, catalogue_poll_s=60.0) as replicas:
            one, other = (replica.live for replica in replicas)
            await one.write(put("both", 0, published, tokenizer))
            await other.catch_up()
            copy = dumped(redis_server)
            await one.write(put("of one", 0, published, tokenizer))
            await one.write(put("both", 1, published, tokenizer))
            restored(redis_server, copy)
            await other.write(put("of other", 0, published, tokenizer))  # the same codes were given on the other side
            await other.write(put("both", 2, published, tokenizer))
            await agree(replicas)
            found = contents(one.snapshot)
            assert {"of one", "of other", "both"} <= found.keys()
            assert '"year":2' in found["both"][0]  # written last

    asyncio.run(scenario())


POISON: list[dict[Any, Any]] = [
    {"change": "{"},
    {"change": "[" * 100_000},
    {"change": '"delete"'},
    {"change": '{"delete": null, "put": 1}'},
    {"change": '{"put": "x", "payload": "{}", "codes": [1e400], "features": ""}'},
    {"other": "fields"},
    {b"\xff\xfe": b"\xff", "change": b"\xff\x00"},
    {"change": "x" * (33 << 20)},
    {"change": '{"delete": "x"}', "prev": "nonsense", "at": "99999999999999999999-0"},
    {"change": "nothing", "token": "x" * 1000},
]


@pytest.mark.parametrize("fields", POISON, ids=range(len(POISON)))
def test_an_event_that_cannot_be_read_stops_nobody(
    published: Snapshot, tokenizer: ItemTokenizer, redis_server: RedisServer, fields: dict[Any, Any]
) -> None:
    async def scenario() -> None:
        async with two_replicas(published, tokenizer, redis_server) as replicas:
            await replicas[0].live.write(put("before", 0, published, tokenizer))
            redis_server.client.xadd(keys(published)["changes"], fields)
            await replicas[1].live.write(put("after", 1, published, tokenizer))
            await agree(replicas)
            assert contents(replicas[0].live.snapshot).keys() == contents(published).keys() | {"before", "after"}
            newcomer = await Replica.start(published, tokenizer, replicas[0].live._settings)
            assert contents(newcomer.live.snapshot) == contents(replicas[0].live.snapshot)
            await newcomer.crash()

    asyncio.run(scenario())


@pytest.mark.parametrize("payload", ["not JSON", "[]", '{"year":"old"}', '{"year":1e400}', '{"unknown":1}'])
def test_a_change_that_cannot_be_applied_stops_nobody(
    published: Snapshot, tokenizer: ItemTokenizer, redis_server: RedisServer, payload: str
) -> None:
    async def scenario() -> None:
        async with two_replicas(published, tokenizer, redis_server) as replicas:
            good = put("poison", 1, published, tokenizer)
            bad = type(good)(type(good.item)("poison", payload), good.codes, good.features)
            await replicas[0].live._log.append(bad, "")
            await replicas[0].live.write(put("after", 1, published, tokenizer))
            await agree(replicas)
            assert "after" in contents(replicas[1].live.snapshot)
            newcomer = await Replica.start(published, tokenizer, replicas[0].live._settings)
            assert contents(newcomer.live.snapshot) == contents(replicas[0].live.snapshot)
            await newcomer.crash()

    asyncio.run(scenario())


@pytest.mark.parametrize("second_fault", ["killed", "paused", "emptied again"])
def test_a_second_fault_while_a_replica_puts_back_loses_nothing(
    published: Snapshot,
    tokenizer: ItemTokenizer,
    redis_server: RedisServer,
    second_fault: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        "rqrec.service.replication.change_log.ENTRIES_AT_ONCE", 2
    )  # many calls, so that the fault meets them
    number_of_items = 40

    async def scenario() -> None:
        fields = {"redis_timeout_s": 0.3, "redis_retries": 0, "redis_pause_s": 0.02, "catalogue_save_every": 10}
        async with two_replicas(published, tokenizer, redis_server, **fields) as replicas:
            for number in range(number_of_items):
                change = put(f"item {number}", number, published, tokenizer)
                await replicas[number % 2].live.write(change)
                if number % 8 == 7:
                    await replicas[0].live.write(Delete(f"item {number}"))
            expected = contents(replicas[0].live.snapshot).keys()
            redis_server.client.flushall()
            for _ in range(3):
                await asyncio.sleep(0.03)
                if second_fault == "killed":
                    redis_server.stop()
                    redis_server.start()
                elif second_fault == "paused":
                    redis_server.client.client_pause(1000)
                    await asyncio.sleep(0.5)
                else:
                    redis_server.client.flushall()
            deadline = time.monotonic() + 20
            while not all(replica.live.is_current for replica in replicas) or time.monotonic() < deadline - 18:
                assert time.monotonic() < deadline
                await asyncio.sleep(0.05)
            assert contents(replicas[0].live.snapshot) == contents(replicas[1].live.snapshot)
            assert contents(replicas[0].live.snapshot).keys() == expected
            newcomer = await Replica.start(published, tokenizer, replicas[0].live._settings)
            assert contents(newcomer.live.snapshot) == contents(replicas[0].live.snapshot)
            await newcomer.crash()

    asyncio.run(scenario())


def test_entries_are_read_in_pages_however_short_the_timeout(
    published: Snapshot,
    tokenizer: ItemTokenizer,
    redis_server: RedisServer,
    slow_redis: Callable[[RedisServer, float], str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("rqrec.service.replication.change_log.ENTRIES_AT_ONCE", 4)

    async def scenario() -> None:
        async with two_replicas(published, tokenizer, redis_server) as replicas:
            for item in range(30):
                change = put(f"{item} " + "x" * 80, item, published, tokenizer)
                await replicas[0].live.write(change)
            url = slow_redis(redis_server, 0.1)
            options = replicas[0].live._settings.model_copy(update={"redis_timeout_s": 0.25})
            options = type(options).model_validate({**options.model_dump(), "redis_url": url})
            newcomer = await Replica.start(published, tokenizer, options)
            until(lambda: newcomer.live.has_caught_up)
            assert contents(newcomer.live.snapshot) == contents(replicas[0].live.snapshot)
            await newcomer.crash()

    asyncio.run(scenario())


def test_a_full_redis_lets_a_new_replica_catch_up_and_loses_nothing(
    bundles: Path,
    redis_server: RedisServer,
    film: dict[str, Any],
) -> None:
    with replica(bundles, redis_server) as one:
        for number in range(10):
            put_item(one, f"new-{number}", film, number)
        redis_server.client.config_set("maxmemory", "1")
        assert one.put("/items/more", json=film).status_code == 503
        with replica(bundles, redis_server) as later:
            assert later.get("/readyz").status_code == 200
            assert catalogue(later) == catalogue(one)
            redis_server.client.config_set("maxmemory", "0")
            put_item(later, "last", film, 1)
            until(lambda: "last" in catalogue(one))


def test_a_redis_that_evicts_is_told_of(
    bundles: Path, redis_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    redis_server.client.config_set("maxmemory-policy", "allkeys-lru")
    with replica(bundles, redis_server) as one:
        until(lambda: "rqrec_redis_evicts 1.0" in one.get("/metrics").text)
        time.sleep(0.5)
        assert caplog.text.count("Redis drops keys") == 1


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
            put_item((one, other)[number % 2], f"new-{number}", film, number)
            time.sleep(0.05)
        until(lambda: catalogue(one) == catalogue(other))
        until(lambda: is_in_redis(redis_server, prefix, catalogue(one)))


def test_the_lock_of_another_replica_is_left_alone(redis_server: RedisServer, published: Snapshot) -> None:
    from rqrec.service.redis.client import RedisGate  # noqa: PLC0415
    from rqrec.service.redis.lock import Lock  # noqa: PLC0415
    from rqrec.service.telemetry import Metrics  # noqa: PLC0415
    from tests.service.conftest import settings_for  # noqa: PLC0415

    async def scenario() -> None:
        gate = RedisGate(settings_for(redis_server.folder, redis_url=redis_server.url), Metrics())
        one, other = Lock(gate, "lock", 0.05), Lock(gate, "lock", 5)
        async with one.held() as is_held:
            assert is_held
            await asyncio.sleep(0.1)
            async with other.held() as is_other_held:
                assert is_other_held
                assert not await one.keep()
                async with one.held() as again:
                    assert not again
                assert redis_server.client.get("lock") == other.token
        await gate.close()

    asyncio.run(scenario())
