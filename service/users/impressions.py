"""The lists that were shown lately: kept in memory, and written to the event store in batches."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from itertools import islice

from rqrec.service.errors import StoreRefused, StoreUnavailable
from rqrec.service.events.event import Impression
from rqrec.service.events.store import EventStore
from rqrec.service.periodic import Periodic
from rqrec.service.users.metrics import UserMetrics

WRITE_EVERY_S = 0.1
LONGEST_PAUSE_S = 1.0  # after failures: a full buffer drops lists, so it must be emptied soon after the store is back
MAX_BATCH = 500
MAX_BUFFERED = 10_000


class ImpressionBuffer:
    """Collects impressions and writes them to the event store in the background, so that no request waits for it.

    An impression leaves the buffer when it is stored. If the store fails, the impressions wait in the buffer. If the
    buffer is full, new impressions are dropped and counted. If the store refuses a batch, smaller ones are tried, down
    to one impression. If it refuses the same impression again after it has taken others, this one is dropped and
    counted: a damaged value of one user must not keep the lists of all users waiting.

    Args:
        store: The event store.
        metrics: Counts written and dropped impressions.
    """

    def __init__(self, store: EventStore, metrics: UserMetrics) -> None:
        self._store = store
        self._metrics = metrics
        self._buffered: dict[str, Impression] = {}
        self._batch_size = MAX_BATCH
        self._num_written = 0
        self._refused: dict[str, int] = {}  # refused alone: number of written impressions at that time
        self._writing = asyncio.Lock()
        self._writer = Periodic(self.flush, WRITE_EVERY_S, expected=StoreUnavailable, longest_pause_s=LONGEST_PAUSE_S)

    def start(self) -> None:
        """Starts the writer."""
        self._writer.start()

    async def stop(self) -> None:
        """Stops the writer, and writes what is in the buffer. What the store does not take is dropped and counted."""
        await self._writer.stop()
        try:
            with suppress(StoreRefused):  # of one impression, which now stands behind all others
                await self.flush()
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
        """Writes the impressions to the event store that are in the buffer now; later ones only if they fill a batch.

        A batch costs the store about as much as one impression: a round trip, and a wait for the disk. So those that
        come while a batch is written wait for the next call.

        Raises:
            StoreUnavailable: If the store does not answer, or refuses an impression for the first time.
        """
        async with self._writing:
            num_left = len(self._buffered)
            while num_left > 0 or len(self._buffered) >= MAX_BATCH:
                batch = list(islice(self._buffered.values(), self._batch_size))
                try:
                    await self._metrics.timed("add_impressions", self._store.add_impressions(batch))
                except StoreRefused:
                    self._batch_size = max(len(batch) // 2, 1)
                    if len(batch) == 1:
                        if not self._drop_if_alone(batch[0]):
                            raise
                        num_left -= 1
                    continue
                self._batch_size = min(2 * self._batch_size, MAX_BATCH)
                self._num_written += len(batch)
                num_left -= len(batch)
                for impression in batch:
                    del self._buffered[impression.recommendation_id]
                    self._refused.pop(impression.recommendation_id, None)
                self._metrics.impressions.labels("written").inc(len(batch))

    @asynccontextmanager
    async def forgetting(self, user_id: str) -> AsyncIterator[list[str]]:
        """Writes the impressions of a user, so that they are counted; drops those that the store refuses at the end.

        No impression is written during the block, which deletes the user from the event store.

        Args:
            user_id: Id of the user.

        Returns:
            The ids of the recommendations that the store refused. It may have stored a part of them.

        Raises:
            StoreUnavailable: If the store does not answer.
        """
        with suppress(StoreRefused):
            await self.flush()
        async with self._writing:
            names = [name for name, one in self._buffered.items() if one.user_id == user_id]
            yield names
            for name in names:
                del self._buffered[name]
                self._refused.pop(name, None)
                self._metrics.impressions.labels("dropped").inc()

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

    def _drop_if_alone(self, impression: Impression) -> bool:
        """Drops an impression that the store refuses while it takes others; else moves it behind all others.

        Returns:
            Whether it was dropped.
        """
        name = impression.recommendation_id
        del self._buffered[name]
        is_alone = self._refused.setdefault(name, self._num_written) < self._num_written
        if is_alone:
            del self._refused[name]
            self._metrics.impressions.labels("dropped").inc()
        else:
            self._buffered[name] = impression
        return is_alone
