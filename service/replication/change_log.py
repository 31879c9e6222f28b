"""The change log of one model version in Redis: it puts all changes of the catalogue into one order.

The change log has four Redis keys, which contain the model version and never expire.

- `changes`, the stream: one event for each change. An event's id is its position. Each event names the one before.
- `entries`, a hash: the content of every written item, after all changes up to one position of the stream.
- `log`, the header: that position, the number and a digest of the entries, the stream's first event, the log's id.
- `carried`, a hash: for other model versions, up to which position their changes were migrated to this version.

From these a reader can tell whether events or entries are missing. Then a replica repairs the log: it replaces the
first three keys, and the new log gets a new id, the epoch. Two more keys expire within seconds: `publisher` is the lock
of a replica that repairs the log, and `reading` exists while a replica reads the entries.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from itertools import islice
from typing import Any

from rqrec.service.catalogue.changes import Change, to_json
from rqrec.service.redis.change_log_scripts import (
    APPEND,
    APPEND_MIGRATED,
    BEGIN,
    GET_OR_SET,
    LOOK,
    READ_ENTRIES,
    READ_HASH,
    READ_HASH_PAGE,
    SAVE,
    SET_FIELD,
)
from rqrec.service.redis.client import RedisGate, version_prefix
from rqrec.service.redis.lock import Lock
from rqrec.service.redis.scripts import run
from rqrec.service.replication.log_view import Event, LogContents, LogHeader, LogView
from rqrec.service.replication.positions import START
from rqrec.service.replication.stamped_entries import StampedEntry, entry_texts, read_entries

READ_AT_ONCE, READ_BYTES_AT_ONCE = 500, 1 << 20  # events, and bytes of events
LONGEST_CHANGE = 32 << 20  # bytes; a change takes as much as a few request bodies
ENTRIES_AT_ONCE = 200
LOCK_LIVES_S = STAGED_LIVES_S = 5.0
READING_LIVES_MS = 3000
NOT_BEGUN = ""


class ChangeLog:
    """Reads and writes the change log of one model version in Redis.

    The log has a stream (one event for each change), entries (the content of each written item) and a header (a
    summary, which says up to which event the entries go). A repair replaces all three. It gives the log a new id.

    Args:
        gate: The client of Redis.
        version: The model version, which is a part of every key.

    Attributes:
        version: The model version.
    """

    def __init__(self, gate: RedisGate, version: str) -> None:
        self._gate = gate
        prefix = version_prefix(version)
        self._stream, self._entries, self._header = f"{prefix}:changes", f"{prefix}:entries", f"{prefix}:log"
        self._migrated = f"{prefix}:carried"
        self._reading = f"{prefix}:reading"
        self._lock = Lock(gate, f"{prefix}:publisher", LOCK_LIVES_S)
        self._staged = f"{prefix}:staged:{self._lock.token}"
        self._cursor = "0"
        self.version = version

    async def append(self, change: Change, token: str, *, after: str = START) -> str:
        """Appends a change to the log's stream, as a new event, and returns the position of this event.

        Args:
            change: The change.
            token: Random id of the write request that waits for the event; empty if no request waits.
            after: The last position that the caller knows. The new event gets a later position.

        Raises:
            RedisUnavailable: If Redis does not answer or is full. The change may be in the stream nevertheless.
        """
        return str(await run(self._gate, APPEND, [self._stream], after, to_json(change), token, "", ""))

    async def look(self, after: str) -> LogView:
        """Reads, at one moment: the log's header (its summary) and sizes, and the next events after a position.

        Args:
            after: A position in the stream. Only events after this position are read, and not all if there are many.

        Raises:
            RedisUnavailable: If Redis does not answer.
        """
        limits = (READ_AT_ONCE, READ_BYTES_AT_ONCE, LONGEST_CHANGE)
        keys = [self._header, self._entries, self._stream, self._reading]
        fields, tag, num_entries, num_events, first, last, reading, events = await run(
            self._gate, LOOK, keys, after, *limits
        )
        header = LogHeader.from_fields(dict(zip(fields[::2], fields[1::2], strict=True)))
        read = [Event(*event) for event in events]
        return LogView(header, tag, num_entries, num_events, first, last, bool(reading), read)

    async def read(self, view: LogView) -> LogContents | None:
        """Reads all entries (the content of written items), and the events after them; in a damaged log all events.

        Returns None if the log's header has changed since `view` was read: what was read may then not fit together.

        Args:
            view: The result of the caller's last call of `ChangeLog.look`.

        Raises:
            RedisUnavailable: If Redis does not answer.
        """
        entries: dict[str, StampedEntry] = {}
        if view.num_entries > 0:
            async for page in self._pages():
                entries |= page
        begin = view.header.position if view.header is not None and view.is_whole else START
        events: list[Event] = []
        position, is_linked = begin, True
        while True:
            now = await self.look(position)
            if now.tag != view.tag:
                return None
            is_linked &= now.follows(position)
            events += now.events
            if not now.events:
                return LogContents(entries, events, position, is_linked)
            position = now.events[-1].position

    async def sample_entries(self) -> dict[str, StampedEntry | None]:
        """Reads the content of some written items, by item id: at each call the next ones. Unreadable content is None.

        Raises:
            RedisUnavailable: If Redis does not answer.
        """
        self._cursor, page = await run(self._gate, READ_HASH_PAGE, [self._entries], self._cursor, ENTRIES_AT_ONCE)
        readable = await asyncio.to_thread(read_entries, page)
        return {item_id: readable.get(item_id) for item_id in page[::2]}

    async def entries_of(self, item_ids: Sequence[str]) -> dict[str, StampedEntry | None]:
        """Reads the content of some items from the hash `entries`, by item id; None if unreadable. Omits absent items.

        Args:
            item_ids: Ids of the items, at least one.

        Raises:
            RedisUnavailable: If Redis does not answer.
        """
        texts: list[Any] = await self._gate.call(self._gate.client.hmget, self._entries, list(item_ids))
        page: list[str] = [part for one in zip(item_ids, texts, strict=True) if one[1] is not None for part in one]
        readable = read_entries(page)
        return {item_id: readable.get(item_id) for item_id in page[::2]}

    async def _pages(self) -> AsyncIterator[dict[str, StampedEntry]]:
        """The readable entries, page by page; HSCAN may return an entry twice."""
        cursor = "0"
        while True:
            keys, arguments = [self._entries, self._reading], (cursor, ENTRIES_AT_ONCE, READING_LIVES_MS)
            cursor, page = await run(self._gate, READ_ENTRIES, keys, *arguments)
            yield await asyncio.to_thread(read_entries, page)
            if cursor == "0":
                return

    async def save(self, before: LogHeader, entries: Mapping[str, StampedEntry], after: LogHeader) -> bool:
        """Compacts the change log: stores the content of changed items (their entries), and deletes old events.

        Also replaces the header, the log's summary. The stream keeps the events from the old header's position on.

        Args:
            before: The old header, as the caller has read it. If Redis has another one by now, nothing is saved.
            entries: The content of the items that have changed since the old header was written, by item id.
            after: The new header. Its epoch and `cut_after` are ignored: the log keeps its id, the epoch, and the
                stream then starts at the old header's position.

        Returns:
            Whether the entries were saved. False if a replica reads the entries now, or another replica saved first.

        Raises:
            RedisUnavailable: If Redis does not answer.
        """
        try:
            await self._stage(entries)
            keys = [self._header, self._entries, self._stream, self._staged, self._reading]
            fields = (after.position, after.catalogue_version, after.count, after.digest)
            return bool(await run(self._gate, SAVE, keys, before.epoch, before.position, *fields))
        finally:
            await self._unstage()

    async def begin(self, tag: str, known_to: str, entries: Mapping[str, StampedEntry], after: LogHeader) -> bool:
        """Repairs the change log: replaces its entries, header and stream. The log gets a new id, the epoch.

        Args:
            tag: Checksum of the header that the caller has read (`LogView.tag`). If it has changed, nothing happens.
            known_to: The position of the last event that the caller has read. Later ones are copied to the new stream.
            entries: The content of all written items, by item id.
            after: The new header. It has a new epoch, and a position later than all known positions.

        Returns:
            Whether the log was replaced. False if another replica is replacing it, or has replaced it before.

        Raises:
            RedisUnavailable: If Redis does not answer.
        """
        async with self._lock.held() as is_held:
            if not is_held:
                return False
            try:
                await self._stage(entries)
                keys = [self._header, self._entries, self._stream, self._staged, self._lock.key]
                fields = (after.position, after.epoch, after.catalogue_version, after.count, after.digest)
                guard = (self._lock.token, self._lock.lives_ms, tag, known_to)
                return bool(await run(self._gate, BEGIN, keys, *guard, *fields))
            finally:
                await self._unstage()

    async def migrations(self) -> set[str]:
        """Returns the versions of the other models whose changes are migrated (copied) to this model's change log.

        Raises:
            RedisUnavailable: If Redis does not answer.
        """
        found = await run(self._gate, READ_HASH, [self._migrated])
        return set(found[::2])

    async def migrated_until(self, version: str) -> str:
        """Returns the position in another model's stream up to which its changes were migrated (copied) to this log.

        If none were, returns an empty text, and stores it: `ChangeLog.migrations` then also returns the other model.

        Args:
            version: Version of the other model.

        Raises:
            RedisUnavailable: If Redis does not answer.
        """
        return str(await run(self._gate, GET_OR_SET, [self._migrated], version, NOT_BEGUN))

    async def restart_migration(self, version: str) -> None:
        """Makes the migration (copying) of another model's changes to this log start again, from the first of them.

        Args:
            version: Version of the other model.

        Raises:
            RedisUnavailable: If Redis does not answer.
        """
        await run(self._gate, SET_FIELD, [self._migrated], version, NOT_BEGUN)

    async def append_all(self, events: Iterable[tuple[Change, Event]]) -> str:
        """Appends changes for which no write request waits, and returns the position of the last new event.

        Args:
            events: Each change with an event, of which only `origin` and `stamp` are read. For a change copied from the
                log of another model, these are that model's version and the position there. Else both are empty.

        Raises:
            RedisUnavailable: If Redis does not answer.
        """
        return str(await run(self._gate, APPEND, [self._stream], START, *_arguments(events)))

    async def append_migrated(
        self, source: str, before: str, after: str, events: Iterable[tuple[Change, Event]]
    ) -> bool:
        """Appends changes copied from another model's change log, unless another replica has appended them before.

        Args:
            source: Version of the other model.
            before: What `ChangeLog.migrated_until` returned. If that has changed since then, nothing is appended.
            after: The position in the other model's stream up to which all changes are copied after this call.
            events: Each change, with codes computed for this model, and its event in the other model's stream.

        Returns:
            Whether the changes were appended.

        Raises:
            RedisUnavailable: If Redis does not answer.
        """
        keys, moved = [self._stream, self._migrated], (source, before, after)
        return bool(await run(self._gate, APPEND_MIGRATED, keys, *moved, START, *_arguments(events)))

    async def _stage(self, entries: Mapping[str, StampedEntry]) -> None:
        """Writes entries under another key, chunk by chunk; a script then takes them over in one step."""
        pairs = iter(entries.items())
        while chunk := list(islice(pairs, ENTRIES_AT_ONCE)):
            await self._lock.keep()
            pipeline = self._gate.client.pipeline(transaction=False)
            texts: dict[Any, Any] = await asyncio.to_thread(entry_texts, chunk)
            pipeline.hset(self._staged, mapping=texts)
            pipeline.pexpire(self._staged, round(1000 * STAGED_LIVES_S))
            await self._gate.call(pipeline.execute)

    async def _unstage(self) -> None:
        await self._gate.try_to_delete(self._staged)


def _arguments(events: Iterable[tuple[Change, Event]]) -> list[str]:
    """The arguments of APPEND for migrated changes."""
    return [part for change, event in events for part in (to_json(change), "", event.origin, event.stamp)]
