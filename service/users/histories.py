"""Reads users' histories from the event store. While the store is away, remembers those that were read lately."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

from cachetools import TTLCache

from rqrec.service.errors import StoreUnavailable
from rqrec.service.events.event import HistoryEntry
from rqrec.service.events.store import EventStore
from rqrec.service.users.metrics import UserMetrics

REMEMBERED_S = 600.0  # a forgotten user may be remembered by another replica for as long
REMEMBERED_ENTRIES = 100_000  # of all users together; about 20 MB
Source = Literal["store", "memory", "none"]


class StoredHistory(NamedTuple):
    """A user's stored history.

    Attributes:
        entries: The entries, oldest first.
        source: `store`: they come from the event store. `memory`: the store did not answer, and this replica has read
            them before. `none`: the store did not answer, and they are not known.
    """

    entries: Sequence[HistoryEntry]
    source: Source


class Histories:
    """Reads the histories of users.

    Args:
        store: The event store.
        metrics: Counts the histories that were read.
        max_entries: Most entries to read of a history.
    """

    def __init__(self, store: EventStore, metrics: UserMetrics, *, max_entries: int) -> None:
        self._store = store
        self._metrics = metrics
        self._max_entries = max_entries
        self._remembered: TTLCache[str, Sequence[HistoryEntry]] = TTLCache(
            REMEMBERED_ENTRIES, REMEMBERED_S, getsizeof=lambda entries: len(entries) + 1
        )

    async def read(self, user_id: str) -> StoredHistory:
        """Reads a user's history; if the event store does not answer, takes what this replica has read before."""
        try:
            entries = await self._metrics.timed("history", self._store.history(user_id, self._max_entries))
        except StoreUnavailable:
            remembered = self._remembered.get(user_id)
            found = StoredHistory((), "none") if remembered is None else StoredHistory(remembered, "memory")
        else:
            self._remembered[user_id] = entries
            found = StoredHistory(entries, "store")
        self._metrics.histories.labels(found.source).inc()
        return found

    def forget(self, user_id: str) -> None:
        """Removes a user's history from the memory of this replica."""
        self._remembered.pop(user_id, None)
