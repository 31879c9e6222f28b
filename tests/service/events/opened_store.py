"""A store of each kind for a test, with an event loop of its own."""

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

from rqrec.service.events.event import UserPage
from rqrec.service.events.redis_store import RedisEventStore
from rqrec.service.events.sqlite_store import SqliteEventStore
from rqrec.service.events.store import START, EventStore, StoreLimits
from rqrec.service.redis.client import RedisGate
from rqrec.service.redis.options import RedisOptions
from rqrec.service.telemetry import Metrics

ResultT = TypeVar("ResultT")


class OpenedStore:
    """A store, which is opened at once and can be closed and opened again.

    Args:
        place: The SQLite file, or the URL of Redis.
        limits: How much is kept, and for how long.
    """

    def __init__(self, place: Path | str, limits: StoreLimits = StoreLimits()) -> None:  # noqa: B008
        self._place, self._limits = place, limits
        self._runner = asyncio.Runner()
        self.open()

    def open(self) -> None:
        self.store, self._close = self.run(self._opened())

    def reopen(self) -> None:
        self.run(self._close())
        self.open()

    def run(self, work: Coroutine[Any, Any, ResultT]) -> ResultT:
        return self._runner.run(work)

    def user(self, user_id: str, limit: int = 1000) -> UserPage:
        """All that is stored of a user: all pages, joined."""
        first = page = self.run(self.store.user(user_id, START, limit))
        events = page.events
        while page.next_after is not None:
            page = self.run(self.store.user(user_id, page.next_after, limit))
            assert len(page.events) <= limit
            assert not page.history
            assert not page.impressions
            events = events + page.events
        return UserPage(first.history, events, first.impressions)

    def forget(self, user_id: str) -> None:
        """Deletes all that is stored of a user."""
        self.run(self.store.drop_events(user_id, self.run(self.store.forget(user_id))))

    def close(self) -> None:
        self.run(self._close())
        self._runner.close()

    async def _opened(self) -> tuple[EventStore, Callable[[], Coroutine[Any, Any, None]]]:
        if isinstance(self._place, Path):
            file = SqliteEventStore(self._place, self._limits)
            return file, file.close
        gate = RedisGate(
            RedisOptions(self._place, timeout_s=2.0, retries=1, max_connections=16, pause_s=0.2), Metrics()
        )
        return RedisEventStore(gate, self._limits), gate.close
