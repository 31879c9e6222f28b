"""The catalogue's changes in Redis: a stream that gives them one order, and what the older ones of them came to.

Under the model's version lie `changes`, the stream, in which every event names the one before it; `entries`, a hash of
every item written, as of a position in the stream; `log`, which says of which position, how many entries there are and
what their digest is, and where the stream begins; and `carried`, which says up to where the streams of models before
this one were carried over. Nothing of these expires. A reader can tell by them whether anything is missing.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from itertools import islice
from typing import Any

from rqrec.service.catalogue.changes import Change, to_json
from rqrec.service.redis.client import RedisGate, version_prefix
from rqrec.service.redis.lock import Lock
from rqrec.service.redis.scripts import (
    APPEND,
    APPEND_CARRIED,
    BEGIN,
    LOOK,
    READ_ENTRIES,
    READ_HASH,
    READ_HASH_PAGE,
    SAVE,
    run,
)
from rqrec.service.replication.log_state import START, Event, Found, LogState, Look, Stamped, entry_texts, read_entries

READ_AT_ONCE, READ_BYTES_AT_ONCE = 500, 1 << 20
LONGEST_CHANGE = 32 << 20  # bytes; ours are as long as a few request bodies
ENTRIES_AT_ONCE = 200
LOCK_LIVES_S = STAGED_LIVES_S = 5.0
READING_LIVES_MS = 3000
NOT_BEGUN = ""


class ChangeLog:
    """Reads and writes the changes of one model version.

    Args:
        gate: Redis.
        version: The model's version, part of every key.
    """

    def __init__(self, gate: RedisGate, version: str) -> None:
        self._gate = gate
        prefix = version_prefix(version)
        self._stream, self._entries, self._log = f"{prefix}:changes", f"{prefix}:entries", f"{prefix}:log"
        self._carried = f"{prefix}:carried"
        self._reading = f"{prefix}:reading"
        self._lock = Lock(gate, f"{prefix}:publisher", LOCK_LIVES_S)
        self._staged = f"{prefix}:staged:{self._lock.token}"
        self._cursor = "0"
        self.version = version

    async def append(self, change: Change, token: str, *, after: str = START) -> str:
        """Adds a change; returns its position.

        Args:
            change: The change.
            token: The writer's.
            after: The last position that the writer knows; the change gets a later one.

        Raises:
            RedisUnavailable: If Redis is, or cannot hold it; the change may have been added nonetheless.
        """
        return str(await run(self._gate, APPEND, [self._stream], after, to_json(change), token, "", ""))

    async def look(self, after: str) -> Look:
        """What Redis holds, with the next events after a position.

        Raises:
            RedisUnavailable: If Redis is.
        """
        limits = (READ_AT_ONCE, READ_BYTES_AT_ONCE, LONGEST_CHANGE)
        keys = [self._log, self._entries, self._stream, self._reading]
        fields, tag, num_entries, num_events, first, last, reading, events = await run(
            self._gate, LOOK, keys, after, *limits
        )
        log = LogState.from_fields(dict(zip(fields[::2], fields[1::2], strict=True)))
        read = [Event(*event) for event in events]
        return Look(log, tag, num_entries, num_events, first, last, bool(reading), read)

    async def read(self, look: Look) -> Found | None:
        """All that there is; None where that became something else meanwhile.

        Args:
            look: As it was a moment ago.

        Raises:
            RedisUnavailable: If Redis is.
        """
        entries: dict[str, Stamped] = {}
        if look.num_entries > 0:
            async for page in self._pages():
                entries |= page
        begin = look.log.position if look.log is not None and look.is_whole else START
        events: list[Event] = []
        position, is_linked = begin, True
        while True:
            now = await self.look(position)
            if now.tag != look.tag:
                return None
            is_linked &= now.follows(position)
            events += now.events
            if not now.events:
                return Found(entries, events, position, is_linked)
            position = now.events[-1].position

    async def some_entries(self) -> dict[str, Stamped | None]:
        """Some of the entries, others at every call; None for one that cannot be read.

        Raises:
            RedisUnavailable: If Redis is.
        """
        self._cursor, found = await run(self._gate, READ_HASH_PAGE, [self._entries], self._cursor, ENTRIES_AT_ONCE)
        readable = await asyncio.to_thread(read_entries, found)
        return {item_id: readable.get(item_id) for item_id in found[::2]}

    async def _pages(self) -> AsyncIterator[dict[str, Stamped]]:
        """The entries that can be read; one may come twice."""
        cursor = "0"
        while True:
            keys, arguments = [self._entries, self._reading], (cursor, ENTRIES_AT_ONCE, READING_LIVES_MS)
            cursor, found = await run(self._gate, READ_ENTRIES, keys, *arguments)
            yield await asyncio.to_thread(read_entries, found)
            if cursor == "0":
                return

    async def save(self, before: LogState, entries: Mapping[str, Stamped], after: LogState) -> bool:
        """Adds what has changed since the log was written to the entries, and cuts the stream one saving behind.

        Args:
            before: What the log says, or nothing happens.
            entries: The items changed since.
            after: What the log is to say; its epoch and `cut_after` come from the one before.

        Returns:
            Whether that was done; not while another replica reads the entries, or if it was faster.

        Raises:
            RedisUnavailable: If Redis is.
        """
        try:
            await self._stage(entries)
            keys = [self._log, self._entries, self._stream, self._staged, self._reading]
            said = (after.position, after.catalogue_version, after.count, after.digest)
            return bool(await run(self._gate, SAVE, keys, before.epoch, before.position, *said))
        finally:
            await self._unstage()

    async def begin(self, tag: str, known_to: str, entries: Mapping[str, Stamped], after: LogState) -> bool:
        """Puts entries and log in the place of what Redis holds, whatever that is; events that came later stay.

        Args:
            tag: Of the log as the caller knows it; if it has changed, nothing happens.
            known_to: The last event of the stream that the caller knows.
            entries: All of them.
            after: What the log is to say: the epoch is new, the position later than all that were.

        Returns:
            Whether that was done; not if another replica is doing it, or was faster.

        Raises:
            RedisUnavailable: If Redis is.
        """
        async with self._lock.held() as is_held:
            if not is_held:
                return False
            try:
                await self._stage(entries)
                keys = [self._log, self._entries, self._stream, self._staged, self._lock.key]
                said = (after.position, after.epoch, after.catalogue_version, after.count, after.digest)
                guard = (self._lock.token, self._lock.lives_ms, tag, known_to)
                return bool(await run(self._gate, BEGIN, keys, *guard, *said))
            finally:
                await self._unstage()

    async def carried(self) -> dict[str, str]:
        """Up to which position the changes of other model versions were carried over, by version.

        Raises:
            RedisUnavailable: If Redis is.
        """
        found = await run(self._gate, READ_HASH, [self._carried])
        return dict(zip(found[::2], found[1::2], strict=True))

    async def carry_from(self, version: str, position: str = NOT_BEGUN) -> None:
        """Notes that the changes of another model version are to be carried over into these, unless that is noted.

        Raises:
            RedisUnavailable: If Redis is.
        """
        await self._gate.call(self._gate.client.hsetnx, self._carried, version, position)

    async def append_carried(
        self, source: str, before: str, after: str, events: Iterable[tuple[Change, Event]]
    ) -> bool:
        """Adds changes that were carried over, unless another replica was faster.

        Args:
            source: The model version that they were carried from.
            before: Up to which position its changes had been carried over when the caller looked.
            after: Up to which they are then.
            events: With the events of the other model; their origin is told.

        Returns:
            Whether they were added.

        Raises:
            RedisUnavailable: If Redis is.
        """
        added = [part for change, event in events for part in (to_json(change), "", event.origin, event.stamp)]
        keys = [self._stream, self._carried]
        return bool(await run(self._gate, APPEND_CARRIED, keys, source, before, after, START, *added))

    async def _stage(self, entries: Mapping[str, Stamped]) -> None:
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
