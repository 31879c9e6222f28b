"""Two replicas on a real Redis: random writes, crashes and restarts against a dictionary; what a writer is told."""

import asyncio
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmarks.support.running import RedisServer
from rqrec.models.items.item_tokenizer import ItemTokenizer
from rqrec.service.catalogue.changes import Delete, Put, Result
from rqrec.service.catalogue.snapshot import Snapshot
from rqrec.service.errors import NotReady
from tests.service.replication.replicas import (
    IDS,
    SAVE_EVERY,
    contents,
    put,
    restart,
    tombstones,
    two_replicas,
    vectors,
)

change = st.tuples(st.sampled_from(IDS), st.one_of(st.none(), st.integers(0, 5)))
step = st.one_of(
    st.tuples(st.just("write"), st.integers(0, 1), change),
    st.tuples(st.just("both write"), change, change),
    st.tuples(st.just("write and crash"), st.integers(0, 1), change),
    st.tuples(st.just("restart"), st.integers(0, 1), st.none()),
    st.tuples(st.just("forget"), st.integers(0, 1), st.none()),
)


@given(steps=st.lists(step, max_size=25))
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_replicas_agree_with_a_model(
    steps: list[tuple[str, Any, Any]], published: Snapshot, tokenizer: ItemTokenizer, shared_redis: RedisServer
) -> None:
    """Two replicas and a dictionary hold the same items after any writes, crashes and restarts.

    Invariant I1: all replicas apply the changes in one order. Invariant I8: a save loses no change. Invariant I11: a
    confirmed write is applied. Invariant I12 (in `contents`): no two items get one semantic ID.
    """

    def made(one: tuple[str, int | None]) -> Put | Delete:
        return Delete(one[0]) if one[1] is None else put(one[0], one[1], published, tokenizer)

    expected = {item_id: payload for item_id, (payload, _) in contents(published).items()}

    def note(one: Put | Delete) -> None:
        if isinstance(one, Delete):
            expected.pop(one.item_id, None)
        else:
            expected[one.item.item_id] = one.item.payload

    async def scenario() -> None:
        async with two_replicas(published, tokenizer, shared_redis) as replicas:
            for kind, first, second in steps:
                if kind == "write":
                    one = made(second)
                    was_there = one.item_id in expected
                    outcome = await replicas[first].live.write(one)
                    wanted = {
                        (Put, False): Result.ADDED,
                        (Put, True): Result.REPLACED,
                        (Delete, True): Result.DELETED,
                        (Delete, False): Result.UNKNOWN_ITEM,
                    }
                    assert outcome.result is wanted[type(one), was_there]
                    note(one)
                elif kind == "both write":
                    if first[0] == second[0]:
                        continue  # either may come last
                    pair = [made(first), made(second)]
                    await asyncio.gather(*(r.live.write(one) for r, one in zip(replicas, pair, strict=True)))
                    for one in pair:
                        note(one)
                elif kind == "write and crash":
                    one = made(second)
                    await replicas[first].live._log.append(one, "")
                    note(one)
                    await restart(replicas, first, published, tokenizer)
                elif kind == "forget":
                    await tombstones(replicas[first]).forget()
                else:
                    await restart(replicas, first, published, tokenizer)
            for replica in replicas:
                await replica.live.catch_up()
            one_state, other_state = (replica.live.snapshot for replica in replicas)
            assert contents(one_state) == contents(other_state)
            assert one_state.catalogue_version == other_state.catalogue_version
            assert np.allclose(vectors(one_state), vectors(other_state), atol=1e-5)
            assert {item_id: payload for item_id, (payload, _) in contents(one_state).items()} == expected
            assert len(one_state.table.rows) < len(published.table.rows) + len(IDS) + SAVE_EVERY

    shared_redis.stop()
    shared_redis.start()
    asyncio.run(scenario())


def test_an_emptied_redis_gets_everything_back(
    published: Snapshot, tokenizer: ItemTokenizer, redis_server: RedisServer
) -> None:
    """Invariants I10 and I11: the replicas still know all confirmed writes, and write them back."""

    async def scenario() -> None:
        async with two_replicas(published, tokenizer, redis_server) as replicas:
            for number in range(SAVE_EVERY + 1):
                await replicas[0].live.write(put(f"item {number}", number, published, tokenizer))
            before = contents(replicas[0].live.snapshot)
            redis_server.stop()
            redis_server.start()
            outcome = await replicas[1].live.write(Delete("item 0"))
            assert outcome.result is Result.DELETED
            for replica in replicas:
                await replica.live.catch_up()
            assert contents(replicas[0].live.snapshot) == contents(replicas[1].live.snapshot)
            assert contents(replicas[0].live.snapshot).keys() == before.keys() - {"item 0"}
            await restart(replicas, 0, published, tokenizer)
            assert contents(replicas[0].live.snapshot) == contents(replicas[1].live.snapshot)

    asyncio.run(scenario())


def test_what_a_replica_that_was_behind_writes_back_is_completed(
    published: Snapshot, tokenizer: ItemTokenizer, redis_server: RedisServer
) -> None:
    """Invariant I7: the join is complete, whichever replica writes back first."""

    async def scenario() -> None:
        slow = {"catalogue_poll_s": 60.0}  # no replica polls by itself
        async with two_replicas(published, tokenizer, redis_server, **slow) as (ahead, behind):
            await ahead.live.write(put("item 0", 0, published, tokenizer))
            await behind.live.catch_up()
            await ahead.live.write(put("item 1", 1, published, tokenizer))
            await ahead.live.write(Delete("100"))
            redis_server.stop()
            redis_server.start()
            await behind.live.write(Delete("item 0"))
            for replica in (ahead, behind):
                await replica.live.catch_up()
            assert contents(ahead.live.snapshot) == contents(behind.live.snapshot)
            assert contents(ahead.live.snapshot).keys() == contents(published).keys() - {"100"} | {"item 1"}

    asyncio.run(scenario())


def test_a_write_that_meets_another_replicas_repair_is_confirmed_after_it(
    published: Snapshot, tokenizer: ItemTokenizer, redis_server: RedisServer
) -> None:
    """However seldom this replica polls: while a write waits, it looks again."""

    async def scenario() -> None:
        async with two_replicas(published, tokenizer, redis_server, catalogue_poll_s=60.0) as (one, _):
            redis_server.client.flushall()
            lock = f"rqrec:{{{published.version}}}:publisher"
            redis_server.client.set(lock, "another replica's token", px=400)
            assert (await one.live.write(Delete("100"))).result is Result.DELETED
            assert not redis_server.client.exists(lock)

    asyncio.run(scenario())


def test_no_write_is_confirmed_while_redis_is_unavailable(
    published: Snapshot, tokenizer: ItemTokenizer, redis_server: RedisServer
) -> None:
    """Invariant I11: a write is confirmed only after its event is in the stream."""

    async def scenario() -> None:
        async with two_replicas(published, tokenizer, redis_server, redis_timeout_s=0.2, redis_retries=0) as replicas:
            redis_server.stop()
            with pytest.raises(NotReady, match="send it again"):
                await replicas[0].live.write(Delete("100"))
            redis_server.start()
            assert (await replicas[0].live.write(Delete("100"))).result is Result.DELETED

    asyncio.run(scenario())
