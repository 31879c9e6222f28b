"""Repairs of the change log: Redis falls back, fills up, stands still or is killed meanwhile."""

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
from tests.service.replication.http_replicas import catalogue, replica
from tests.service.replication.http_replicas import put as put_item
from tests.service.replication.replicas import Replica, agree, contents, newcomer_agrees, put, two_replicas


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


@pytest.mark.parametrize("writes_before_anybody_looks", [0, 1, 4])
def test_a_failover_to_a_lagging_copy_loses_nothing(
    published: Snapshot, tokenizer: ItemTokenizer, redis_server: RedisServer, writes_before_anybody_looks: int
) -> None:
    """Invariants I3, I4 and I10: the replicas notice the missing events and write them back in a new epoch."""

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
            newcomer = await Replica.start(published, tokenizer, replicas[0].settings)
            assert contents(newcomer.live.snapshot) == contents(one.snapshot)
            await newcomer.crash()

    asyncio.run(scenario())


def test_replicas_that_wrote_apart_come_together_without_a_shared_semantic_id(
    published: Snapshot, tokenizer: ItemTokenizer, redis_server: RedisServer
) -> None:
    """Invariants I6, I7 and I12: the later change of an item holds, and no two items keep one semantic ID."""

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


@pytest.mark.parametrize("second_fault", ["killed", "paused", "emptied again"])
def test_a_second_fault_during_a_repair_loses_nothing(
    published: Snapshot,
    tokenizer: ItemTokenizer,
    redis_server: RedisServer,
    second_fault: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Invariants I9 and I10: an interrupted repair changes nothing, and no replica forgets anything."""
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

            def are_settled() -> bool:
                # Current is what has all changes that Redis had at the last poll; the other replica may know more.
                one, other = (contents(replica.live.snapshot) for replica in replicas)
                return one == other and all(replica.live.is_current for replica in replicas)

            while not are_settled() or time.monotonic() < deadline - 18:
                assert time.monotonic() < deadline
                await asyncio.sleep(0.05)
            assert contents(replicas[0].live.snapshot).keys() == expected
            await newcomer_agrees(replicas, published, tokenizer)

    asyncio.run(scenario())


def test_entries_are_read_in_pages_however_short_the_timeout(
    published: Snapshot,
    tokenizer: ItemTokenizer,
    redis_server: RedisServer,
    slow_redis: Callable[[RedisServer, float], str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Invariant I8: a new replica reads all entries, page by page."""
    monkeypatch.setattr("rqrec.service.replication.change_log.ENTRIES_AT_ONCE", 4)

    async def scenario() -> None:
        async with two_replicas(published, tokenizer, redis_server) as replicas:
            for item in range(30):
                change = put(f"{item} " + "x" * 80, item, published, tokenizer)
                await replicas[0].live.write(change)
            url = slow_redis(redis_server, 0.1)
            options = replicas[0].settings.model_copy(update={"redis_timeout_s": 0.25})
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
    """Invariant I11: a full Redis confirms no write, and loses none."""
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
