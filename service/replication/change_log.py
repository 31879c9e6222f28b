"""The change log of one model version in Redis: it puts all changes of the catalogue into one order.

The change log has four keys under the model's version. They never expire.

- `changes`, the stream: one event for every change; an event names the event before it.
- `entries`, a hash: every written item as it was at the header's position.
- `log`, the header: epoch and position of the entries, their number and digest, and the first event of the stream.
- `carried`, a hash: the streams of other model versions, and up to which position each was migrated into this one.

From these a reader can tell whether events or entries are missing. Two more keys expire within seconds: `publisher` is
the lock of a replica that starts an epoch, `reading` says that a replica reads the entries.
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
    """Reads and writes the change log of one model version.

    Args:
        gate: The client of Redis.
        version: The model version, part of every key.

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
        """Appends a change to the stream and returns its position.

        Args:
            change: The change.
            token: Identifies the write that waits for the event; empty if no write waits.
            after: The last position that the caller knows; the event gets a later one.

        Raises:
            RedisUnavailable: If Redis does not answer or is full. The change may be in the stream nevertheless.
        """
        return str(await run(self._gate, APPEND, [self._stream], after, to_json(change), token, "", ""))

    async def look(self, after: str) -> LogView:
        """Reads the change log at one moment, with the next events after a position.

        Args:
            after: Position in the stream; events after it are read.

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
        """Reads all entries and events; returns None if the header changed meanwhile.

        Args:
            view: The change log as the caller saw it last.

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
        """Reads some of the entries, the next ones at every call; None for an unreadable entry.

        Raises:
            RedisUnavailable: If Redis does not answer.
        """
        self._cursor, page = await run(self._gate, READ_HASH_PAGE, [self._entries], self._cursor, ENTRIES_AT_ONCE)
        readable = await asyncio.to_thread(read_entries, page)
        return {item_id: readable.get(item_id) for item_id in page[::2]}

    async def entries_of(self, item_ids: Sequence[str]) -> dict[str, StampedEntry | None]:
        """The entries of some items, without those that Redis lacks; None for an unreadable entry.

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
        """Moves changes from the stream into the entries.

        The stream is cut before the old header's position, so it still holds the events since the last save.

        Args:
            before: The header as the caller knows it; if it has changed, nothing is saved.
            entries: The entries that changed since the old header.
            after: The new header; its epoch and `cut_after` are ignored, they follow from `before`.

        Returns:
            Whether the entries were saved: not if a replica reads the entries, or another replica saved first.

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
        """Starts a new epoch: entries and header replace those in Redis. Events after `known_to` stay.

        Args:
            tag: The tag of the header as the caller knows it; if it has changed, nothing happens.
            known_to: The position of the last event that the caller knows.
            entries: All entries.
            after: The new header; it has a new epoch, and a position later than all known positions.

        Returns:
            Whether the epoch has started: not if another replica is starting one, or was faster.

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
        """The other model versions whose changes are migrated into this one.

        Raises:
            RedisUnavailable: If Redis does not answer.
        """
        found = await run(self._gate, READ_HASH, [self._migrated])
        return set(found[::2])

    async def migrated_until(self, version: str) -> str:
        """How far the changes of another model version were migrated to this one, as a position in its stream.

        If Redis has no such position, this is the beginning of the stream, and it is stored.

        Args:
            version: Version of the other model.

        Raises:
            RedisUnavailable: If Redis does not answer.
        """
        return str(await run(self._gate, GET_OR_SET, [self._migrated], version, NOT_BEGUN))

    async def restart_migration(self, version: str) -> None:
        """Lets the migration of another model version start from its beginning.

        Args:
            version: Version of the other model.

        Raises:
            RedisUnavailable: If Redis does not answer.
        """
        await run(self._gate, SET_FIELD, [self._migrated], version, NOT_BEGUN)

    async def append_all(self, events: Iterable[tuple[Change, Event]]) -> str:
        """Appends changes that no write waits for, and returns the last position.

        Args:
            events: The changes, each with an event that holds its origin and stamp if it comes from another model.

        Raises:
            RedisUnavailable: If Redis does not answer.
        """
        return str(await run(self._gate, APPEND, [self._stream], START, *_arguments(events)))

    async def append_migrated(
        self, source: str, before: str, after: str, events: Iterable[tuple[Change, Event]]
    ) -> bool:
        """Appends migrated changes, unless another replica was faster.

        Args:
            source: The model version that the changes come from.
            before: The position up to which the source was migrated, as the caller knows it.
            after: The position up to which the source is migrated with these changes.
            events: The changes for this model, each with its event of the source's stream.

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
