"""The event store in one SQLite file, for one machine. Several processes may use the file."""

import time
from collections.abc import Sequence
from pathlib import Path

from rqrec.service.events.event import Event, HistoryEntry, Impression
from rqrec.service.events.sqlite_readers import SqliteReaders
from rqrec.service.events.sqlite_reads import (
    read_history,
    read_impression,
    read_records,
    read_shown,
    read_size,
    read_user,
)
from rqrec.service.events.sqlite_writer import SqliteWriter
from rqrec.service.events.sqlite_writes import SqliteWrites, event_rows, impression_rows
from rqrec.service.events.store import (
    START,
    AppendResult,
    EventStore,
    RecordPage,
    StoreLimits,
    UserData,
    check_read_limit,
    foreign_position,
)

LONGEST_POSITION = 18  # digits


class SqliteEventStore(EventStore):
    """Stores events in one SQLite file, which is made at the first write.

    Times in histories are exact to a microsecond.

    Args:
        path: The file. Its folder must be on a disk of this machine, because SQLite's locks may fail on network disks.
        limits: How much is kept, and for how long.
    """

    def __init__(self, path: Path, limits: StoreLimits) -> None:
        self._limits = limits
        self._writes = SqliteWrites(limits)
        self._writer = SqliteWriter(path)
        self._readers = SqliteReaders(path)

    async def append(self, events: Sequence[Event]) -> AppendResult:
        """Stores events; see `EventStore.append`."""
        return await self._writer.run(self._writes.append, event_rows(events))

    async def history(self, user_id: str, limit: int) -> list[HistoryEntry]:
        """Returns the last entries of a user's history; see `EventStore.history`."""
        return await self._readers.run(lambda connection: read_history(connection, user_id, limit), [])

    async def add_impressions(self, impressions: Sequence[Impression]) -> None:
        """Stores impressions; see `EventStore.add_impressions`."""
        await self._writer.run(self._writes.add_impressions, impression_rows(impressions))

    async def impression(self, recommendation_id: str) -> Impression | None:
        """Returns the impression of a recommendation; see `EventStore.impression`."""
        since = self._kept_since()
        return await self._readers.run(lambda connection: read_impression(connection, recommendation_id, since), None)

    async def shown_since(self, user_id: str, at: float) -> set[str]:
        """Returns the items that a user was shown; see `EventStore.shown_since`."""
        since = max(at, self._kept_since())
        shown = await self._readers.run(lambda connection: read_shown(connection, user_id, since), list[Impression]())
        return {item_id for impression in shown for item_id in impression.item_ids}

    async def user(self, user_id: str) -> UserData:
        """Returns all that is stored of a user; see `EventStore.user`."""
        since = self._kept_since()
        return await self._readers.run(lambda connection: read_user(connection, user_id, since), UserData([], [], []))

    async def forget(self, user_id: str) -> int:
        """Deletes all that is stored of a user; see `EventStore.forget`."""
        return await self._writer.run(self._writes.forget, user_id)

    async def read(self, position: str, limit: int) -> RecordPage:
        """Reads the next records of the stream; see `EventStore.read`."""
        check_read_limit(limit)
        after = _number(position)
        return await self._readers.run(lambda connection: read_records(connection, after, limit), RecordPage([], "0"))

    async def trim(self, position: str) -> None:
        """Deletes records of the stream; see `EventStore.trim`."""
        while await self._writer.run(self._writes.trim, _number(position)):
            pass

    async def size(self) -> int:
        """Returns about how many records the stream holds; see `EventStore.size`."""
        return await self._readers.run(read_size, 0)

    async def close(self) -> None:
        """Waits for running calls, then closes the file."""
        await self._writer.close()
        await self._readers.close()

    def _kept_since(self) -> float:
        return time.time() - self._limits.impression_ttl_s


def _number(position: str) -> int:
    if position == START:
        return 0
    if not position.isascii() or not position.isdigit() or len(position) > LONGEST_POSITION:
        raise foreign_position(position)
    return int(position)
