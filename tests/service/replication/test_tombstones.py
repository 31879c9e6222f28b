"""A deleted item that was never in the bundle is forgotten, and nothing brings it back."""

import asyncio
from dataclasses import replace
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
from tests.service.replication.replicas import (
    Replica,
    agree,
    contents,
    keys,
    newcomer_agrees,
    put,
    restart,
    tombstones,
    two_replicas,
)

QUIET = {"catalogue_poll_s": 60.0, "catalogue_save_every": 1000}


async def written_and_deleted(replica: Replica, published: Snapshot, tokenizer: ItemTokenizer) -> None:
    for number in range(4):
        await replica.live.write(put(f"gone {number}", number, published, tokenizer))
        await replica.live.write(Delete(f"gone {number}"))


def test_deleted_items_are_forgotten_by_all_replicas_and_by_redis(
    published: Snapshot, tokenizer: ItemTokenizer, redis_server: RedisServer
) -> None:
    entries, header = keys(published)["entries"], keys(published)["log"]

    async def scenario() -> None:
        async with two_replicas(published, tokenizer, redis_server) as replicas:
            await written_and_deleted(replicas[0], published, tokenizer)
            await replicas[0].live.write(Delete("100"))  # of the bundle: never forgotten
            await tombstones(replicas[1], at_least=5).forget()
            await tombstones(replicas[1], live_s=60.0).forget()
            await agree(replicas)
            assert len(replicas[0].live.tombstones("9-0")) == 0
            assert all(len(one.live.tombstones(f"{10**14}-0")) == 4 for one in replicas)
            epoch = redis_server.client.hget(header, "epoch")
            await tombstones(replicas[1]).forget()
            await agree(replicas)
            assert all(one.live.tombstones(f"{10**14}-0") == [] for one in replicas)
            for number in range(5):  # a save
                await replicas[number % 2].live.write(put("there", number, published, tokenizer))
                await agree(replicas)
            assert set(redis_server.client.hkeys(entries)) == {"there", "100"}
            assert redis_server.client.hget(header, "epoch") == epoch  # nobody had to repair the log
            assert "100" not in contents(replicas[0].live.snapshot)
            await newcomer_agrees(replicas, published, tokenizer)
            await restart(replicas, 0, published, tokenizer)
            await agree(replicas)
            assert redis_server.client.hget(header, "epoch") == epoch

    asyncio.run(scenario())


@pytest.mark.parametrize("is_saved", [False, True], ids=["in the stream", "in the entries"])
def test_a_deleted_item_that_another_model_holds_is_not_forgotten(
    published: Snapshot, tokenizer: ItemTokenizer, redis_server: RedisServer, is_saved: bool
) -> None:
    """Its change log would bring the item back when that model is served again."""
    older = replace(published, version="older")
    save = {"catalogue_save_every": 1 if is_saved else 1000}

    async def scenario() -> None:
        async with (
            two_replicas(older, tokenizer, redis_server, **save) as (old, _),
            two_replicas(published, tokenizer, redis_server) as replicas,
        ):
            await old.live.write(put("gone 1", 1, older, tokenizer))
            await old.live.write(put("gone 2", 1, older, tokenizer))
            await old.live.write(Delete("gone 2"))
            await written_and_deleted(replicas[0], published, tokenizer)
            await tombstones(replicas[0]).forget()
            await agree(replicas)
            assert replicas[1].live.tombstones(f"{10**14}-0") == ["gone 1"]

    asyncio.run(scenario())


def test_an_item_that_is_written_again_is_not_forgotten(
    published: Snapshot, tokenizer: ItemTokenizer, redis_server: RedisServer
) -> None:
    async def scenario() -> None:
        async with two_replicas(published, tokenizer, redis_server, **QUIET) as replicas:
            await written_and_deleted(replicas[0], published, tokenizer)
            await replicas[1].live.catch_up()
            await replicas[1].live.write(put("gone 1", 5, published, tokenizer))  # the other one does not know it
            await tombstones(replicas[0]).forget()
            await replicas[1].live.write(put("gone 2", 5, published, tokenizer))
            await agree(replicas)
            assert {"gone 1", "gone 2"} <= contents(replicas[0].live.snapshot).keys()

    asyncio.run(scenario())


@pytest.mark.parametrize("is_moved", [True, False], ids=["the log went on", "the log was set back"])
def test_a_replica_that_was_away_for_long_brings_nothing_back_unless_redis_lost_it(
    published: Snapshot, tokenizer: ItemTokenizer, redis_server: RedisServer, is_moved: bool
) -> None:
    short = {**QUIET, "catalogue_save_every": 3, "tombstone_s": 0.2}

    async def scenario() -> None:
        async with two_replicas(published, tokenizer, redis_server, **short) as replicas:
            one, away = replicas
            await one.live.write(put("gone 1", 1, published, tokenizer))
            await away.live.catch_up()
            if is_moved:
                await written_and_deleted(one, published, tokenizer)
                await tombstones(one).forget()
                for number in range(9):  # saves, so that the stream no longer holds the deletion
                    await one.live.write(put("there", number, published, tokenizer))
            else:
                await one.crash()
                for name in keys(published).values():
                    redis_server.client.delete(name)
                replicas[0] = one = await Replica.start(published, tokenizer, away.settings)
            await asyncio.sleep(0.3)
            await agree(replicas)
            assert ("gone 1" in contents(one.live.snapshot)) is not is_moved

    asyncio.run(scenario())


def test_writing_and_deleting_leaves_a_bounded_number_of_entries(
    bundles: Path, redis_server: RedisServer, film: dict[str, Any], prefix: str
) -> None:
    fields = {"tombstone_s": 0.2, "catalogue_save_every": 5}
    with replica(bundles, redis_server, **fields) as one, replica(bundles, redis_server, **fields) as other:
        before = catalogue(one)
        for number in range(60):
            put_item(one, f"new-{number}", film, number)
            assert (one, other)[number % 2].delete(f"/items/new-{number}").status_code == 204
        until(lambda: redis_server.client.hlen(f"{prefix}:entries") <= 10)
        until(lambda: catalogue(one) == catalogue(other) == before)
        with replica(bundles, redis_server) as later:
            assert catalogue(later) == before
