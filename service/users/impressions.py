"""The lists that were shown lately: kept in memory, and written to the event store in batches."""

import asyncio
from collections.abc import Iterator
from itertools import islice

from rqrec.service.errors import StoreUnavailable
from rqrec.service.events.event import Impression
from rqrec.service.events.store import EventStore
from rqrec.service.periodic import Periodic
from rqrec.service.users.metrics import UserMetrics

WRITE_EVERY_S = 0.1
MAX_BATCH = 500
MAX_BUFFERED = 10_000


class ImpressionBuffer:
    """Collects impressions and writes them to the event store in the background, so that no request waits for it.

    An impression leaves the buffer when it is stored. If the store fails, the impressions wait in the buffer. If the
    buffer is full, new impressions are dropped and counted.

    Args:
        store: The event store.
        metrics: Counts written and dropped impressions.
    """

    def __init__(self, store: EventStore, metrics: UserMetrics) -> None:
        self._store = store
        self._metrics = metrics
        self._buffered: dict[str, Impression] = {}
        self._writing = asyncio.Lock()
        self._writer = Periodic(self.flush, WRITE_EVERY_S, expected=StoreUnavailable)

    def start(self) -> None:
        """Starts the writer."""
        self._writer.start()

    async def stop(self) -> None:
        """Stops the writer, and writes what is in the buffer. What the store does not take is dropped and counted."""
        await self._writer.stop()
        try:
            await self.flush()
        except StoreUnavailable:
            self._metrics.impressions.labels("dropped").inc(len(self._buffered))

    def add(self, impression: Impression) -> None:
        """Adds an impression to the buffer, or drops it if the buffer is full."""
        if len(self._buffered) < MAX_BUFFERED:
            self._buffered[impression.recommendation_id] = impression
        else:
            self._metrics.impressions.labels("dropped").inc()

    async def flush(self) -> None:
        """Writes all impressions of the buffer to the event store.

        Raises:
            StoreUnavailable: If the store does not answer.
        """
        async with self._writing:
            while batch := list(islice(self._buffered.values(), MAX_BATCH)):
                await self._metrics.timed("add_impressions", self._store.add_impressions(batch))
                for impression in batch:
                    del self._buffered[impression.recommendation_id]
                self._metrics.impressions.labels("written").inc(len(batch))

    def find(self, recommendation_id: str) -> Impression | None:
        """Returns the impression of a recommendation, if it is still in the buffer."""
        return self._buffered.get(recommendation_id)

    def shown_since(self, user_id: str, at: float) -> Iterator[str]:
        """Iterates over the items in the buffer that a user was shown.

        Args:
            user_id: Id of the user.
            at: Only lists since this time count, in seconds since 1970.
        """
        for impression in self._buffered.values():
            if impression.user_id == user_id and impression.at >= at:
                yield from impression.item_ids
