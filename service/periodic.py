"""Work that is done again and again beside the requests."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

logger = logging.getLogger("rqrec")


class Periodic:
    """Calls a coroutine function every so often, and at once when asked to, until stopped.

    What is running when `stop` comes is finished and not cancelled: a call of Redis that is cut off may swallow it.

    Args:
        work: What to do; what it raises is logged, and it is called again.
        every_s: Pause between two calls, in seconds.
    """

    def __init__(self, work: Callable[[], Awaitable[None]], every_s: float) -> None:
        self._work = work
        self._every_s = every_s
        self._wake = asyncio.Event()
        self._is_stopped = False
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begins with a pause."""
        self._task = asyncio.create_task(self._run())

    def now(self) -> None:
        """Ends the pause, or skips the next one."""
        self._wake.set()

    async def stop(self) -> None:
        """Returns when nothing runs any more."""
        self._is_stopped = True
        self.now()
        if self._task is not None:
            await self._task

    async def _run(self) -> None:
        while True:
            timer = asyncio.get_running_loop().call_later(self._every_s, self._wake.set)
            await self._wake.wait()
            timer.cancel()
            self._wake.clear()
            if self._is_stopped:
                return
            try:
                await self._work()
            except Exception:
                logger.exception("%s failed; it will be tried again", self._work.__qualname__)
