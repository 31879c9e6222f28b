"""The event store in one SQLite file, for one machine. Several processes may use the file."""

import time
from collections.abc import Sequence
from pathlib import Path

from typing_extensions import override

from rqrec.service.events.event import Event, HistoryEntry, Impression, RecordPage, UserPage
from rqrec.service.events.sqlite_outcomes import read_counts
from rqrec.service.events.sqlite_readers import SqliteReaders
from rqrec.service.events.sqlite_reads import (
    read_histories,
    read_impression,
    read_records,
    read_shown,
    read_size,
    read_store_id,
    read_user,
)
from rqrec.service.events.sqlite_writer import SqliteWriter
from rqrec.service.events.sqlite_writes import SqliteWrites
from rqrec.service.events.store import (
    START,
    AppendResult,
    EventStore,
    StoreLimits,
    check_read_limit,
    foreign_position,
)
from rqrec.service.outcomes.outcome_counts import OutcomeCounts

LONGEST_POSITION = 18  # digits


class SqliteEventStore(EventStore):
    """Stores events in one SQLite file, which is made at the first write.

    Args:
        path: The file. Its folder must be on a disk of this machine, because SQLite's locks may fail on network disks.
        limits: How much is kept, and for how long.
    """

    def __init__(self, path: Path, limits: StoreLimits) -> None:
        self._limits = limits
        self._writes = SqliteWrites(limits)
        self._writer = SqliteWriter(path)
        self._readers = SqliteReaders(path)

    @override
    async def append(self, events: Sequence[Event]) -> AppendResult:
        return await self._writer.run(self._writes.append, self._writes.event_rows(events))

    @override
    def history_at_once(self, user_id: str, limit: int) -> list[HistoryEntry] | None:
        found = self._readers.read_at_once(lambda connection: read_histories(connection, [user_id], limit))
        return None if found is None else found[0]

    @override
    async def histories(self, user_ids: Sequence[str], limit: int) -> list[list[HistoryEntry]]:
        return await self._readers.run(
            lambda connection: read_histories(connection, user_ids, limit), [[] for _ in user_ids]
        )

    @override
    async def add_impressions(self, impressions: Sequence[Impression]) -> None:
        await self._writer.run(self._writes.add_impressions, self._writes.impression_rows(impressions))

    @override
    async def impression(self, recommendation_id: str) -> Impression | None:
        since = self._kept_since()
        return await self._readers.run(lambda connection: read_impression(connection, recommendation_id, since), None)

    @override
    async def outcome_counts(self, trial: int) -> OutcomeCounts:
        now = time.time()
        return await self._readers.run(lambda connection: read_counts(connection, trial, now), OutcomeCounts({}))

    @override
    async def shown_since(self, user_id: str, at: float) -> set[str]:
        since = max(at, self._kept_since())
        shown = await self._readers.run(lambda connection: read_shown(connection, user_id, since), list[Impression]())
        return {item_id for impression in shown for item_id in impression.item_ids}

    @override
    async def user(self, user_id: str, after: str, limit: int) -> UserPage:
        since, position = self._kept_since(), _number(after)
        return await self._readers.run(
            lambda connection: read_user(connection, user_id, since, position, limit), UserPage([], [], [])
        )

    @override
    async def forget(self, user_id: str, refused: Sequence[str] = ()) -> str:  # a refused impression is not stored
        return str(await self._writer.run(self._writes.forget, user_id))

    @override
    async def drop_events(self, user_id: str, position: str) -> None:
        while await self._writer.run(self._writes.drop_events, (user_id, _number(position))):
            pass

    @override
    async def read(self, position: str, limit: int) -> RecordPage:
        check_read_limit(limit)
        after = _number(position)
        return await self._readers.run(lambda connection: read_records(connection, after, limit), RecordPage([], "0"))

    @override
    async def trim(self, position: str) -> None:
        while await self._writer.run(self._writes.trim, _number(position)):
            pass

    @override
    async def store_id(self) -> str:
        return await self._readers.run(read_store_id, "")

    @override
    async def size(self) -> int:
        return await self._readers.run(read_size, 0)

    @override
    async def close(self) -> None:
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
