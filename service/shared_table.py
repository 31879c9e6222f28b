"""The table from semantic IDs to items in Redis, under the model's version, for every replica and other programs.

Two hashes, `items` (semantic ID → JSON of item_id and payload) and `semantic-ids` (item id → semantic ID), and `whole`,
which says that both are there. They are written under other names and renamed, expire once no replica uses the version,
and are written anew where Redis has lost them.
"""

import asyncio
import json
import logging
import uuid
from collections.abc import Sequence
from typing import cast

import numpy as np
from cachetools import TTLCache

from models.semantic_ids import format_semantic_id
from service.redis_client import RedisAway, RedisGate, add_rename
from service.settings import Settings
from service.table import Item, ItemTable
from service.telemetry import Metrics

KEY_PREFIX = "rqrec"
PUBLISH_CHUNK = 1000
WRITER_LOCK_S = 30
NEAR, REDIS = "near", "redis"
logger = logging.getLogger("rqrec")


class SharedTable:
    """Reads items from Redis, many at a time and through a small cache, and keeps the table there whole.

    Args:
        gate: Redis.
        version: The model's version, part of every key.
        metrics: Counts hits and misses.
        settings: Time to live of keys and of the near cache, and its size.
    """

    def __init__(self, gate: RedisGate, version: str, metrics: Metrics, settings: Settings) -> None:
        self._gate = gate
        self._metrics = metrics
        self._keys_live_s = settings.redis_table_ttl_s
        self._prefix = version_prefix(version)
        self.items_key, self.ids_key = f"{self._prefix}:items", f"{self._prefix}:semantic-ids"
        self._whole_key = f"{self._prefix}:whole"
        self._near: TTLCache[str, Item] = TTLCache(settings.near_cache_items, settings.near_cache_ttl_s)
        self._is_behind = False
        self._wanted: dict[str, None] = {}
        self._reading: asyncio.Task[dict[str, Item | None]] | None = None

    async def items(self, semantic_ids: Sequence[str]) -> list[Item | None] | None:
        """What Redis holds for each semantic ID, None where that is nothing; None for all where Redis is away.

        All that is asked for in one turn of the event loop, as by the requests of one batch, is one round trip.
        """
        near = self._near
        found = {text: near.get(text) for text in semantic_ids}
        missing = [text for text, item in found.items() if item is None]
        self._metrics.cache_requests.labels(NEAR, "hit").inc(len(found) - len(missing))
        if missing:
            self._metrics.cache_requests.labels(NEAR, "miss").inc(len(missing))
            self._wanted.update(dict.fromkeys(missing))
            if self._reading is None:
                self._reading = asyncio.create_task(self._read())
            try:
                found |= await asyncio.shield(self._reading)
            except RedisAway:
                return None
        return [found.get(text) for text in semantic_ids]

    async def update(self, before: ItemTable, after: ItemTable, item_ids: Sequence[str]) -> None:
        """Writes what has changed of some items; what cannot be written now, `keep_whole` writes later."""
        pipeline = self._gate.client.pipeline(transaction=True)
        old, new = before.find(item_ids), after.find(item_ids)
        for codes in before.trie.codes_of(old[old >= 0]):
            pipeline.hdel(self.items_key, format_semantic_id(codes))
        for place in np.flatnonzero(new < 0).tolist():
            pipeline.hdel(self.ids_key, item_ids[place])
        leaves = new[new >= 0]
        for item, codes in zip(after.items(leaves), after.trie.codes_of(leaves), strict=True):
            semantic_id = format_semantic_id(codes)
            pipeline.hset(self.items_key, semantic_id, to_json(item))
            pipeline.hset(self.ids_key, item.item_id, semantic_id)
        try:
            await self._gate.call(pipeline.execute)
        except RedisAway:
            self._is_behind = True

    async def keep_whole(self, table: ItemTable) -> None:
        """Writes the table unless it is there, and puts off its expiry. To be called every now and then.

        Raises:
            RedisAway: If Redis is.
        """
        client = self._gate.client
        if self._is_behind or await self._gate.call(client.get, self._whole_key) != str(len(table.first_rows)):
            await self._publish(table)
        for key in (self.items_key, self.ids_key, self._whole_key):
            await self._gate.call(client.expire, key, self._keys_live_s)

    async def _read(self) -> dict[str, Item | None]:
        await asyncio.sleep(0)  # until the others of this turn have said what they want
        texts, self._wanted, self._reading = list(self._wanted), {}, None
        try:
            values = await self._gate.call(self._gate.client.hmget, self.items_key, texts)
        except RedisAway:
            self._metrics.cache_requests.labels(REDIS, "error").inc(len(texts))
            raise
        items = {text: _item(value) for text, value in zip(texts, cast("list[object]", values), strict=True)}
        hits = {text: item for text, item in items.items() if item is not None}
        self._near.update(hits)
        self._metrics.cache_requests.labels(REDIS, "hit").inc(len(hits))
        self._metrics.cache_requests.labels(REDIS, "miss").inc(len(texts) - len(hits))
        return items

    async def _publish(self, table: ItemTable) -> None:
        client, call = self._gate.client, self._gate.call
        lock = f"{self._prefix}:writer"
        if not await call(lambda: client.set(lock, "1", nx=True, ex=WRITER_LOCK_S)):
            return  # another replica is writing
        staged = f"{self._prefix}:staged:{uuid.uuid4()}"
        staged_items, staged_ids = f"{staged}:items", f"{staged}:semantic-ids"
        texts = [format_semantic_id(codes) for codes in table.trie.codes_NL.tolist()]
        leaves = np.arange(len(table))
        for begin in range(0, len(texts), PUBLISH_CHUNK):
            chunk = slice(begin, begin + PUBLISH_CHUNK)
            items = dict(zip(texts[chunk], table.items(leaves[chunk]), strict=True))
            pipeline = client.pipeline(transaction=False)
            pipeline.hset(staged_items, mapping={text: to_json(item) for text, item in items.items()})
            pipeline.hset(staged_ids, mapping={item.item_id: text for text, item in items.items()})
            pipeline.expire(staged_items, self._keys_live_s)
            pipeline.expire(staged_ids, self._keys_live_s)
            await call(pipeline.execute)
        switch = client.pipeline(transaction=True)
        add_rename(switch, staged_items, self.items_key)
        add_rename(switch, staged_ids, self.ids_key)
        switch.set(self._whole_key, len(table.first_rows), ex=self._keys_live_s)
        switch.delete(lock)
        await call(switch.execute)
        self._is_behind = False
        logger.info("wrote %d items to Redis as %s", len(texts), self._prefix)


def version_prefix(version: str) -> str:
    """What all keys of a model version begin with; in a cluster they lie in one slot."""
    return f"{KEY_PREFIX}:{{{version}}}"


def to_json(item: Item) -> str:
    """An item as its hash holds it."""
    return f'{{"item_id":{json.dumps(item.item_id, ensure_ascii=False)},"payload":{item.payload}}}'


def _item(text: object) -> Item | None:
    """The inverse of `to_json`; None for anything else."""
    try:
        fields = json.loads(cast("str", text))
        return Item(str(fields["item_id"]), json.dumps(dict(fields["payload"]), ensure_ascii=False))
    except (ValueError, TypeError, KeyError):  # nothing there, or not what this service writes
        return None
