"""The table between semantic IDs and items: in process, or in Redis with the process's own copy behind it."""

import json
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import polars as pl
from redis.asyncio import Redis
from redis.exceptions import RedisError

from models.bundle import ITEM_COLUMNS
from models.semantic_ids import format_semantic_id
from service.telemetry import Metrics

KEY_PREFIX = "rqrec"
PUBLISH_CHUNK = 1000
logger = logging.getLogger("rqrec")

SemanticId = tuple[int, ...]


@dataclass(frozen=True)
class Item:
    """What the catalogue knows of an item; `payload` holds its attributes."""

    item_id: str
    semantic_id: SemanticId
    payload: dict[str, Any]


class Found(NamedTuple):
    """What a lookup found, in the order of the keys, None where there is nothing; and whether Redis was away."""

    values: list[Any]
    degraded: bool


class Catalogue(Protocol):
    """Batched lookups in both directions."""

    async def semantic_ids(self, item_ids: Sequence[str]) -> Found:
        """The semantic ID (a tuple of codes) of each item id."""

    async def items(self, semantic_ids: Sequence[SemanticId]) -> Found:
        """The `Item` of each semantic ID."""

    async def close(self) -> None:
        """Lets go of connections."""


class InProcessCatalogue:
    """The whole table in dictionaries: the embedded default, and a replica's own copy beside Redis."""

    def __init__(self, items: pl.DataFrame) -> None:
        """Builds the tables from the bundle's items (see `models.bundle.Bundle.items`)."""
        attributes = items.drop(ITEM_COLUMNS).rows(named=True)
        rows = zip(items["item_id"].to_list(), items["semantic_id"].to_list(), attributes, strict=True)
        self._by_semantic_id = {tuple(codes): Item(item_id, tuple(codes), payload) for item_id, codes, payload in rows}
        self._by_item_id = {item.item_id: item.semantic_id for item in self._by_semantic_id.values()}

    def __len__(self) -> int:
        return len(self._by_item_id)

    async def semantic_ids(self, item_ids: Sequence[str]) -> Found:
        """See `Catalogue`."""
        return Found([self._by_item_id.get(item_id) for item_id in item_ids], degraded=False)

    async def items(self, semantic_ids: Sequence[SemanticId]) -> Found:
        """See `Catalogue`."""
        return Found([self._by_semantic_id.get(semantic_id) for semantic_id in semantic_ids], degraded=False)

    def all_items(self) -> list[Item]:
        """Every item, for publishing."""
        return list(self._by_semantic_id.values())

    async def close(self) -> None:
        """See `Catalogue`."""


class RedisCatalogue:
    """The table in Redis under the model's version, one round trip a lookup.

    Two hashes: item id → semantic ID text, and semantic ID text → JSON of the item. Whatever Redis does not answer,
    because it is away, slow, restarted empty or holds something else, comes from the replica's own copy.

    Args:
        redis: A client that decodes responses.
        version: The model's version, part of every key.
        own_copy: The same table in process.
        metrics: Counts hits, misses and errors.
        pause_s: After an error, Redis is not asked for this long.
    """

    def __init__(
        self, redis: Redis, version: str, own_copy: InProcessCatalogue, metrics: Metrics, *, pause_s: float
    ) -> None:
        self._redis = redis
        self._own_copy = own_copy
        self._metrics = metrics
        self._pause_s = pause_s
        self._ask_again_at = 0.0
        # The braces keep both hashes in one slot of a Redis Cluster.
        self._semantic_ids_key = f"{KEY_PREFIX}:{{{version}}}:semantic-ids"
        self._items_key = f"{KEY_PREFIX}:{{{version}}}:items"

    async def publish(self) -> None:
        """Writes the own copy's items to Redis unless they are there; an error is noted and left to the fallback."""
        items = self._own_copy.all_items()
        try:
            if await self._redis.hlen(self._items_key) == len(items):
                return
            for begin in range(0, len(items), PUBLISH_CHUNK):
                chunk = items[begin : begin + PUBLISH_CHUNK]
                async with self._redis.pipeline(transaction=False) as pipeline:
                    for item in chunk:
                        text = format_semantic_id(item.semantic_id)
                        pipeline.hset(self._semantic_ids_key, item.item_id, text)
                        pipeline.hset(self._items_key, text, _to_json(item))
                    await pipeline.execute()
            self._metrics.redis_up.set(1)
        except (RedisError, OSError) as error:
            self._note(error)

    async def semantic_ids(self, item_ids: Sequence[str]) -> Found:
        """See `Catalogue`."""
        texts = await self._ask(self._semantic_ids_key, list(item_ids))
        own = (await self._own_copy.semantic_ids(item_ids)).values
        if texts is None:
            return Found(own, degraded=True)
        return Found([_codes(text) or mine for text, mine in zip(texts, own, strict=True)], degraded=False)

    async def items(self, semantic_ids: Sequence[SemanticId]) -> Found:
        """See `Catalogue`."""
        texts = await self._ask(self._items_key, [format_semantic_id(codes) for codes in semantic_ids])
        own = (await self._own_copy.items(semantic_ids)).values
        if texts is None:
            return Found(own, degraded=True)
        items = (_from_json(text, codes) for text, codes in zip(texts, semantic_ids, strict=True))
        return Found([item or mine for item, mine in zip(items, own, strict=True)], degraded=False)

    async def close(self) -> None:
        """See `Catalogue`."""
        await self._redis.aclose()

    async def _ask(self, key: str, fields: list[str]) -> list[str | None] | None:
        """The values of a hash's fields, or None where Redis is away."""
        if not fields:
            return []
        if time.monotonic() < self._ask_again_at:
            self._metrics.cache_requests.labels("redis", "skipped").inc(len(fields))
            return None
        try:
            texts = await self._redis.hmget(key, fields)
        except (RedisError, OSError) as error:
            self._note(error)
            self._metrics.cache_requests.labels("redis", "error").inc(len(fields))
            return None
        self._metrics.redis_up.set(1)
        hits = sum(text is not None for text in texts)
        self._metrics.cache_requests.labels("redis", "hit").inc(hits)
        self._metrics.cache_requests.labels("redis", "miss").inc(len(fields) - hits)
        return [text if isinstance(text, str) else None for text in texts]

    def _note(self, error: Exception) -> None:
        self._ask_again_at = time.monotonic() + self._pause_s
        self._metrics.redis_up.set(0)
        self._metrics.redis_errors.inc()
        logger.warning("Redis is away (%s): answering from the own copy", type(error).__name__)


def _to_json(item: Item) -> str:
    return json.dumps({"item_id": item.item_id, "payload": item.payload}, ensure_ascii=False)


def _from_json(text: str | None, semantic_id: SemanticId) -> Item | None:
    try:
        fields = json.loads(text or "null")
        return Item(str(fields["item_id"]), semantic_id, dict(fields["payload"]))
    except (ValueError, TypeError, KeyError):  # nothing there, or not what this service writes
        return None


def _codes(text: str | None) -> SemanticId | None:
    try:
        return tuple(int(code) for code in (text or "").split("-"))
    except ValueError:
        return None
