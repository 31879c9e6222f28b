"""Reads users' histories from the event store. While the store is away, remembers those that were read lately."""

import asyncio
import logging
import time
from collections.abc import Sequence
from typing import Literal, NamedTuple

from cachetools import LRUCache

from rqrec.service.errors import StoreRefused, StoreUnavailable
from rqrec.service.events.event import HistoryEntry
from rqrec.service.events.store import EventStore
from rqrec.service.users.metrics import UserMetrics

REMEMBERED_S = 600.0  # a forgotten user may be remembered by another replica for as long
REMEMBERED_ENTRIES = 100_000  # of all users together; about 20 MB
MAX_BATCH = 64  # histories of one call
LOGGED_EVERY_S = 60.0
Source = Literal["store", "memory", "none"]
logger = logging.getLogger("rqrec")


class StoredHistory(NamedTuple):
    """A user's stored history.

    Attributes:
        entries: The entries, oldest first.
        source: `store`: they come from the event store. `memory`: the store did not answer, and this replica has read
            them before. `none`: the store did not answer, and they are not known.
    """

    entries: Sequence[HistoryEntry]
    source: Source


class _Waiting(NamedTuple):
    """A request that waits for a user's history."""

    user_id: str
    answer: asyncio.Future[Sequence[HistoryEntry]]


class _Remembered(NamedTuple):
    """A history that was read before, and when, in monotonic seconds."""

    entries: Sequence[HistoryEntry]
    read_at: float


class Histories:
    """Reads the histories of users. Requests that come while a history is read are answered by one call of the store.

    A store that can answer at once is asked for each request by itself.

    Args:
        store: The event store.
        metrics: Counts the histories that were read.
        max_entries: Most entries to read of a history.
    """

    def __init__(self, store: EventStore, metrics: UserMetrics, *, max_entries: int) -> None:
        self._store = store
        self._metrics = metrics
        self._max_entries = max_entries
        self._waiting = list[_Waiting]()
        self._is_reading = False
        self._reader: asyncio.Task[None] | None = None  # a reference, so that the task is not collected
        self._log_from = 0.0  # monotonic seconds
        self._remembered: LRUCache[str, _Remembered] = LRUCache(
            REMEMBERED_ENTRIES, getsizeof=lambda remembered: len(remembered.entries) + 1
        )

    async def read(self, user_id: str) -> StoredHistory:
        """Reads a user's history; if the event store does not answer, takes what this replica has read before."""
        try:
            entries = await self._read(user_id)
        except StoreUnavailable:
            found = self._remember(user_id)
        else:
            self._remembered[user_id] = _Remembered(entries, time.monotonic())
            found = StoredHistory(entries, "store")
        self._metrics.count_history(found.source)
        return found

    def forget(self, user_id: str) -> None:
        """Removes a user's history from the memory of this replica."""
        self._remembered.pop(user_id, None)

    async def _read(self, user_id: str) -> Sequence[HistoryEntry]:
        begin = time.perf_counter()
        if (entries := self._store.history_at_once(user_id, self._max_entries)) is not None:
            self._metrics.observe("histories", time.perf_counter() - begin)
            return entries
        if not self._is_reading:
            return await self._read_first(user_id)
        answer: asyncio.Future[Sequence[HistoryEntry]] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(user_id, answer))
        return await answer

    async def _read_first(self, user_id: str) -> Sequence[HistoryEntry]:
        """Reads one history in the task of its request, which takes less time than another task."""
        self._is_reading = True
        try:
            (entries,) = await self._call([user_id])
        finally:
            self._is_reading = bool(self._waiting)
            if self._waiting:
                self._reader = asyncio.create_task(self._read_waiting())
        return entries

    def _remember(self, user_id: str) -> StoredHistory:
        remembered = self._remembered.get(user_id)
        if remembered is None or time.monotonic() - remembered.read_at > REMEMBERED_S:
            return StoredHistory((), "none")
        return StoredHistory(remembered.entries, "memory")

    async def _read_waiting(self) -> None:
        """Reads the histories that requests wait for, until none waits. One call at a time, for all that wait then."""
        try:
            while self._waiting:
                batch, self._waiting = self._waiting[:MAX_BATCH], self._waiting[MAX_BATCH:]
                await self._read_batch(batch)
        finally:
            self._is_reading = False

    async def _call(self, user_ids: Sequence[str]) -> list[list[HistoryEntry]]:
        try:
            return await self._metrics.timed("histories", self._store.histories(user_ids, self._max_entries))
        except Exception as error:
            self._log(error)
            raise

    async def _read_batch(self, batch: Sequence[_Waiting]) -> None:
        user_ids = [one.user_id for one in batch]
        answered = [one.answer for one in batch]
        try:
            histories = await self._call(user_ids)
        except Exception as error:
            if isinstance(error, StoreRefused) and len(batch) > 1:
                half = len(batch) // 2  # so that the damaged history of one user does not hide those of the others
                await self._read_batch(batch[:half])
                await self._read_batch(batch[half:])
                return
            for answer in answered:
                if not answer.done():  # cancelled, because the request is over
                    answer.set_exception(error)
        else:
            for answer, entries in zip(answered, histories, strict=True):
                if not answer.done():
                    answer.set_result(entries)

    def _log(self, error: Exception) -> None:
        """Logs that histories cannot be read, in one line a minute at most."""
        if time.monotonic() >= self._log_from:
            self._log_from = time.monotonic() + LOGGED_EVERY_S
            logger.warning("users' histories cannot be read from the event store: %s", error)
