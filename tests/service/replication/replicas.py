"""Replicas of a live catalogue on a real Redis, without the HTTP service around them."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.support.running import RedisServer
from rqrec.models.items.item_tokenizer import ItemTokenizer
from rqrec.service.catalogue.changes import Put
from rqrec.service.catalogue.item import Item
from rqrec.service.catalogue.item_table import Codes
from rqrec.service.catalogue.snapshot import Snapshot
from rqrec.service.composition import redis_options
from rqrec.service.redis.client import RedisGate
from rqrec.service.replication.change_log import ChangeLog
from rqrec.service.replication.live_catalogue import LiveCatalogue
from rqrec.service.replication.tombstones import Tombstones
from rqrec.service.settings import Settings
from rqrec.service.telemetry import Metrics
from tests.service.conftest import settings_for

IDS = ["100", "101", "164", "new", "newer"]  # two of the bundle, three not
PREFIXES = 2  # so few that items collide
SAVE_EVERY = 3


@dataclass
class Replica:
    """A live catalogue, its client of Redis, and the settings of both."""

    live: LiveCatalogue
    gate: RedisGate
    settings: Settings

    @classmethod
    async def start(cls, published: Snapshot, tokenizer: ItemTokenizer, settings: Settings) -> "Replica":
        gate, metrics = RedisGate(redis_options(settings), Metrics()), Metrics()

        async def observer(_before: Snapshot, _after: Snapshot, _items: Sequence[str]) -> None:
            await asyncio.sleep(0)

        live = LiveCatalogue(
            published,
            tokenizer,
            ChangeLog(gate, published.version),
            metrics,
            observer,
            poll_every_s=settings.catalogue_poll_s,
            save_every=settings.catalogue_save_every,
            write_timeout_s=settings.write_timeout_s,
            outdated_after_s=settings.tombstone_s,
        )
        await live.start()
        return cls(live, gate, settings)

    async def crash(self) -> None:
        await self.live.stop()
        await self.gate.close()


def tombstones(replica: Replica, *, live_s: float = 0.0, at_least: int = 1) -> Tombstones:
    """What forgets the tombstones of a replica's change log, at once unless told otherwise."""
    log = ChangeLog(replica.gate, replica.live.snapshot.version)
    return Tombstones(replica.gate, log, replica.live, live_s=live_s, at_least=at_least)


@asynccontextmanager
async def two_replicas(
    published: Snapshot, tokenizer: ItemTokenizer, server: RedisServer, **fields: object
) -> AsyncIterator[list[Replica]]:
    """Two replicas that poll often and save after every `SAVE_EVERY` changes."""
    eager = {"catalogue_poll_s": 0.005, "catalogue_save_every": SAVE_EVERY, "redis_pause_s": 0.0, "redis_check_s": 0.05}
    options = settings_for(server.folder, redis_url=server.url, **{"redis_timeout_s": 2.0, **eager, **fields})
    replicas = [await Replica.start(published, tokenizer, options) for _ in range(2)]
    try:
        yield replicas
    finally:
        for replica in replicas:
            await replica.crash()


async def restart(replicas: list[Replica], which: int, published: Snapshot, tokenizer: ItemTokenizer) -> None:
    await replicas[which].crash()
    replicas[which] = await Replica.start(published, tokenizer, replicas[which].settings)


async def agree(replicas: list[Replica]) -> None:
    """Waits until both replicas hold the same items."""
    for _ in range(400):
        for one in replicas:
            await one.live.catch_up()
        if contents(replicas[0].live.snapshot) == contents(replicas[1].live.snapshot):
            return
        await asyncio.sleep(0.02)
    raise AssertionError("the replicas do not agree")


async def newcomer_agrees(replicas: list[Replica], published: Snapshot, tokenizer: ItemTokenizer) -> None:
    """Checks that a replica that starts now holds the same items."""
    newcomer = await Replica.start(published, tokenizer, replicas[0].settings)
    assert contents(newcomer.live.snapshot) == contents(replicas[0].live.snapshot)
    await newcomer.crash()


def put(item_id: str, content: int, published: Snapshot, tokenizer: ItemTokenizer) -> Put:
    """A change that writes an item; items whose content has the same parity get the same codes."""
    prefix = tuple(published.trie.codes_of(np.array([content % PREFIXES]))[0, :-1].tolist())
    features = np.full(tokenizer.featurizer.width, content, dtype=np.float32).tobytes()
    return Put(Item(item_id, f'{{"title":"{content}","year":{content},"genres":[]}}'), prefix, features)


def contents(snapshot: Snapshot) -> dict[str, tuple[str, Codes]]:
    """Every item with its payload and semantic ID, as a search would reach it."""
    table, places = snapshot.table, snapshot.table.places
    codes = map(tuple, table.codes_of(places).tolist())
    found = {item.item_id: (item.payload, row) for item, row in zip(table.items(places), codes, strict=True)}
    assert table.find(list(found)).tolist() == places.tolist()
    assert len(table) == len(places) == len({row for _, row in found.values()})  # Invariant I12: no ID twice
    return found


def vectors(snapshot: Snapshot) -> NDArray[np.float32]:
    """Every item's vector, in order of item id."""
    table = snapshot.table
    ids = sorted(item.item_id for item in table.items(table.places))
    return snapshot.item_vectors.rows[table.find(ids)]


def keys(published: Snapshot) -> dict[str, str]:
    """The keys of a model's change log."""
    return {name: f"rqrec:{{{published.version}}}:{name}" for name in ("changes", "entries", "log", "carried")}
