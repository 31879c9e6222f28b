"""Events that cannot be read or applied: every replica skips them, and goes on."""

import asyncio
from typing import Any

import pytest

from benchmarks.support.running import RedisServer
from rqrec.models.items.item_tokenizer import ItemTokenizer
from rqrec.service.catalogue.changes import Delete, Put, Result
from rqrec.service.catalogue.snapshot import Snapshot
from tests.service.replication.replicas import agree, contents, keys, newcomer_agrees, put, two_replicas


def test_changes_of_other_software_are_skipped_by_all(
    published: Snapshot, tokenizer: ItemTokenizer, redis_server: RedisServer
) -> None:
    """Invariant I13: all replicas skip the same events, and count them as changes."""
    stream = f"rqrec:{{{published.version}}}:changes"

    async def scenario() -> None:
        async with two_replicas(published, tokenizer, redis_server) as replicas:
            bad: list[dict[Any, Any]] = [{"change": "[]"}, {"change": '{"put": 1}'}, {"other": "x"}, {"change": "\x00"}]
            for fields in bad:
                redis_server.client.xadd(stream, fields)
            short = put("short", 1, published, tokenizer)
            await replicas[0].live._log.append(Put(short.item, short.codes, b"1234"), "")
            await replicas[0].live._log.append(Put(short.item, (99, 0, 0), short.features), "")
            assert (await replicas[0].live.write(Delete("100"))).result is Result.DELETED
            await replicas[1].live.catch_up()
            states = [replica.live.snapshot for replica in replicas]
            assert [state.catalogue_version for state in states] == [7, 7]
            assert contents(states[0]) == contents(states[1])
            assert contents(states[0]).keys() == contents(published).keys() - {"100"}

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "position",
    [
        "18446744073709551615-18446744073709551615",
        "18446744073709551614-1",
        "1000000000000000-0",
        "999999999999999-999999999999999",
        "4102444800000-999999999999999",
    ],
)
@pytest.mark.parametrize("is_deleted", [False, True])
def test_an_event_at_a_position_that_no_clock_gives_blocks_no_write(
    published: Snapshot, tokenizer: ItemTokenizer, redis_server: RedisServer, position: str, is_deleted: bool
) -> None:
    """Invariant I1: an event at an impossible position does not block the stream."""

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
def test_an_event_that_cannot_be_read_is_skipped(
    published: Snapshot, tokenizer: ItemTokenizer, redis_server: RedisServer, fields: dict[Any, Any]
) -> None:
    """Invariant I13: an unreadable event is skipped by running replicas and by new ones."""

    async def scenario() -> None:
        async with two_replicas(published, tokenizer, redis_server) as replicas:
            await replicas[0].live.write(put("before", 0, published, tokenizer))
            redis_server.client.xadd(keys(published)["changes"], fields)
            await replicas[1].live.write(put("after", 1, published, tokenizer))
            await agree(replicas)
            assert contents(replicas[0].live.snapshot).keys() == contents(published).keys() | {"before", "after"}
            await newcomer_agrees(replicas, published, tokenizer)

    asyncio.run(scenario())


@pytest.mark.parametrize("payload", ["not JSON", "[]", '{"year":"old"}', '{"year":1e400}', '{"unknown":1}'])
def test_a_change_that_cannot_be_applied_is_skipped(
    published: Snapshot, tokenizer: ItemTokenizer, redis_server: RedisServer, payload: str
) -> None:
    """Invariant I13: a change that cannot be applied is skipped by running replicas and by new ones."""

    async def scenario() -> None:
        async with two_replicas(published, tokenizer, redis_server) as replicas:
            good = put("poison", 1, published, tokenizer)
            bad = type(good)(type(good.item)("poison", payload), good.codes, good.features)
            await replicas[0].live._log.append(bad, "")
            await replicas[0].live.write(put("after", 1, published, tokenizer))
            await agree(replicas)
            assert "after" in contents(replicas[1].live.snapshot)
            await newcomer_agrees(replicas, published, tokenizer)

    asyncio.run(scenario())
