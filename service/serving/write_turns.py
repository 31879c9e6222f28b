"""Writes in progress: the active model changes only between them, so that no confirmed write is missing afterwards."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class WriteTurns:
    """Counts the writes of this replica, and lets them wait while the active model changes."""

    def __init__(self) -> None:
        self._num_writing = 0
        self._is_idle, self._is_open = asyncio.Event(), asyncio.Event()
        self._is_idle.set()
        self._is_open.set()

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Counts the block as one write in progress. If there is a pause, the block begins after it."""
        while not self._is_open.is_set():
            await self._is_open.wait()
        self._num_writing += 1
        self._is_idle.clear()
        try:
            yield
        finally:
            self._num_writing -= 1
            if not self._num_writing:
                self._is_idle.set()

    @asynccontextmanager
    async def paused(self) -> AsyncIterator[None]:
        """Waits for the writes in progress, and lets no other write begin inside the block. One pause at a time."""
        self._is_open.clear()
        try:
            await self._is_idle.wait()
            yield
        finally:
            self._is_open.set()
