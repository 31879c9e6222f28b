"""A copy of the item table in Redis, for other programs. The service itself never reads items from it.

The copy has three keys. Their names contain the model's version.

- `items`, a hash: semantic ID → JSON of item_id and payload.
- `semantic-ids`, a hash: item id → semantic ID.
- `whole`, a hash: up to which event of the change log both hashes contain all changes, and the number of items.

Every replica writes every change, and Redis ignores a change that the copy already contains. If Redis has lost a part
of the copy, a replica writes the whole table again: first under other keys, which one script then renames. The keys
expire when no replica serves this model any more.
"""

import asyncio
import contextlib
import json
import logging
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from rqrec.models.trie.semantic_ids import format_semantic_id
from rqrec.service.catalogue.item import Item
from rqrec.service.catalogue.item_table import ItemTable
from rqrec.service.redis.change_log_scripts import READ_HASH_PAGE
from rqrec.service.redis.client import RedisGate, RedisUnavailable, version_prefix
from rqrec.service.redis.lock import Lock
from rqrec.service.redis.scripts import run
from rqrec.service.redis.table_scripts import LOOK_AT_TABLE, WRITE_TABLE
from rqrec.service.replication.positions import Point, is_before

PUBLISH_CHUNK, CHECK_CHUNK = 1000, 500
WRITER_LOCK_S = STAGED_LIVES_S = 30
logger = logging.getLogger("rqrec")


class RedisTable:
    """Writes the copy of the item table in Redis, for other programs, and keeps this copy complete.

    Args:
        gate: The client of Redis.
        version: The model version, which is a part of every key.
        keys_live_s: Time to live of the keys, in seconds; every replica starts it again regularly.
    """

    def __init__(self, gate: RedisGate, version: str, *, keys_live_s: int) -> None:
        self._gate = gate
        self._keys_live_s = keys_live_s
        self._prefix = version_prefix(version)
        self._items_key, self._ids_key = f"{self._prefix}:items", f"{self._prefix}:semantic-ids"
        self._keys = [f"{self._prefix}:whole", self._items_key, self._ids_key]
        self._lock = Lock(gate, f"{self._prefix}:writer", WRITER_LOCK_S)
        self._writing = asyncio.Lock()
        self._cursors: dict[str, str] = {}  # key → the HSCAN cursor of its next check
        self._changed: set[str] = set()  # items that changed while a whole table is staged
        self._latest: tuple[Point, ItemTable] | None = None

    async def update(self, before: ItemTable, after: ItemTable, item_ids: Sequence[str], point: Point) -> None:
        """Writes some changed items into the copy of the item table in Redis.

        If this is not possible now, `RedisTable.keep_whole` writes the whole table later. Examples: Redis does not
        answer, or the change log was repaired.

        Args:
            before: The table before the change.
            after: The table after the change.
            item_ids: Ids of the items that differ between the two tables.
            point: The last event of the change log that `after` contains.
        """
        old_point = self._latest[0] if self._latest is not None else Point("", "")
        self._latest = point, after
        self._changed.update(item_ids)
        if old_point.epoch == point.epoch:  # in a new epoch any item may differ: keep_whole writes the whole table
            async with self._writing:
                with contextlib.suppress(RedisUnavailable):
                    await self._write(old_point, point, before, after, item_ids)

    async def keep_whole(self, table: ItemTable, point: Point) -> None:
        """Checks the copy of the item table in Redis, and restarts the time to live of its keys. Call it regularly.

        If the copy is older than the table or lacks a part of it, writes the whole table. Also compares some items, the
        next ones at each call, and writes the whole table if one differs.

        Args:
            table: The present table of this replica.
            point: The last event of the change log that `table` contains.

        Raises:
            RedisUnavailable: If Redis does not answer.
        """
        epoch, position, count, *found = await run(self._gate, LOOK_AT_TABLE, self._keys, self._keys_live_s)
        is_other = epoch != point.epoch or is_before(position, point.position)
        is_complete = all(str(number) == count for number in found)
        self._latest = self._latest or (point, table)
        if is_other or not is_complete or not (position != point.position or await self._is_right(table)):
            await self._publish()

    async def _is_right(self, table: ItemTable) -> bool:
        """Whether some items in Redis, the next ones at every call, equal those of the table."""
        is_right = True
        for key, agrees in ((self._items_key, _items_agree), (self._ids_key, _ids_agree)):
            cursor = self._cursors.get(key, "0")
            self._cursors[key], found = await run(self._gate, READ_HASH_PAGE, [key], cursor, CHECK_CHUNK)
            is_right = is_right and await asyncio.to_thread(agrees, found[::2], found[1::2], table)
        # If the table has changed meanwhile, a difference means nothing.
        return is_right or self._latest is None or self._latest[1] is not table

    async def _publish(self) -> None:
        """Writes the whole table under other names, then renames the keys."""
        assert self._latest is not None
        async with self._lock.held() as is_held:
            if not is_held:
                return  # another replica writes the table
            staged = [f"{self._prefix}:staged:{self._lock.token}:{name}" for name in ("items", "semantic-ids")]
            try:
                point, table = self._latest
                self._changed.clear()
                for items, ids in _chunks(table):
                    await self._lock.keep()
                    pipeline = self._gate.client.pipeline(transaction=False)
                    for key, mapping in zip(staged, (items, ids), strict=True):
                        pipeline.hset(key, mapping=mapping)
                        pipeline.expire(key, STAGED_LIVES_S)
                    await self._gate.call(pipeline.execute)
                async with self._writing:
                    now, latest = self._latest
                    is_done = await self._write(point, now, table, latest, list(self._changed), staged)
            finally:
                await self._gate.try_to_delete(*staged)
        if is_done:
            logger.info("wrote %d items to Redis as %s", len(latest), self._prefix)

    async def _write(
        self,
        old: Point,
        new: Point,
        before: ItemTable,
        after: ItemTable,
        item_ids: Sequence[str],
        staged: Sequence[str] = (),
    ) -> bool:
        """Writes some items. With staged keys, these first replace the table. Returns False if nothing was written."""
        removed, gone, written = await asyncio.to_thread(_difference, before, after, item_ids)
        token = self._lock.token if staged else ""
        keys = [*self._keys, *staged, self._lock.key] if staged else self._keys
        head = (token, self._keys_live_s, new.epoch, old.position, new.position, len(after))
        lists = (len(removed), *removed, len(gone), *gone, *written)
        return bool(await run(self._gate, WRITE_TABLE, keys, *head, *lists))


def to_json(item: Item) -> str:
    """Encodes an item as JSON with the fields `item_id` and `payload`, for the Redis hash `items`."""
    return f'{{"item_id":{json.dumps(item.item_id, ensure_ascii=False)},"payload":{item.payload}}}'


def _chunks(table: ItemTable) -> Iterator[tuple[dict[Any, Any], dict[Any, Any]]]:
    """The contents of both hashes, `items` and `semantic-ids`, in chunks of `PUBLISH_CHUNK` items."""
    for begin in range(0, len(table), PUBLISH_CHUNK):
        leaves = table.places[begin : begin + PUBLISH_CHUNK]
        texts = [format_semantic_id(codes) for codes in table.codes_of(leaves).tolist()]
        items = table.items(leaves)
        pairs = list(zip(texts, items, strict=True))
        yield {text: to_json(item) for text, item in pairs}, {item.item_id: text for text, item in pairs}


def _difference(before: ItemTable, after: ItemTable, item_ids: Sequence[str]) -> tuple[list[str], list[str], list[str]]:
    """The arguments of WRITE_TABLE: semantic IDs to delete, item ids to delete, and items to write.

    An item to write takes three elements: its semantic ID, its JSON and its item id.
    """
    old, new = before.find(item_ids), after.find(item_ids)
    removed = [format_semantic_id(codes) for codes in before.codes_of(old[old >= 0]).tolist()]
    gone = [item_ids[place] for place in np.flatnonzero(new < 0).tolist()]
    leaves = new[new >= 0]
    written: list[str] = []
    for item, codes in zip(after.items(leaves), after.codes_of(leaves).tolist(), strict=True):
        written += (format_semantic_id(codes), to_json(item), item.item_id)
    return removed, gone, written


def _items_agree(texts: Sequence[str], values: Sequence[str], table: ItemTable) -> bool:
    """Whether some fields of the hash `items` (semantic IDs and item JSON) equal those of the table."""
    leaves = table.find([_item_id(value) for value in values])
    if not np.all(leaves >= 0):
        return False
    ours = zip(table.items(leaves), table.codes_of(leaves).tolist(), strict=True)
    return [(format_semantic_id(codes), to_json(item)) for item, codes in ours] == list(zip(texts, values, strict=True))


def _ids_agree(item_ids: Sequence[str], texts: Sequence[str], table: ItemTable) -> bool:
    """Whether some fields of the hash `semantic-ids` (item ids and semantic IDs) equal those of the table."""
    leaves = table.find(item_ids)
    return bool(np.all(leaves >= 0)) and [
        format_semantic_id(codes) for codes in table.codes_of(leaves).tolist()
    ] == list(texts)


def _item_id(text: str) -> str:
    """The item id in a field of the hash `items`; empty if the field is damaged."""
    try:
        return str(json.loads(text)["item_id"])
    except (ValueError, TypeError, KeyError, RecursionError):
        return ""
