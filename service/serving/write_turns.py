"""Keeps writes of items apart from changes of the models' roles: a new active model must lack no confirmed write."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class WriteTurns:
    """Keeps writes of items apart from changes of the models' roles, such as a switch to another active model.

    A change waits until all running writes have ended. New writes wait until the change has ended.
    """

    def __init__(self) -> None:
        self._num_writing = 0
        self._is_idle, self._is_open = asyncio.Event(), asyncio.Event()
        self._is_idle.set()
        self._is_open.set()

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Context manager for one write. Waits first while the models' roles are changing (`WriteTurns.paused`)."""
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
        """Context manager for a change of the models' roles. Waits first until all running writes have ended.

        No write can begin before the end of the block. Only one such block may run at a time.
        """
        self._is_open.clear()
        try:
            await self._is_idle.wait()
            yield
        finally:
            self._is_open.set()
