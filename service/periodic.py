"""A background task that repeats: calls a coroutine function at regular intervals."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

LONGEST_PAUSE_S = 60.0
logger = logging.getLogger("rqrec")


class Periodic:
    """Calls a coroutine function again and again in a background task, with a pause between two calls.

    After each failed call the pause doubles; after a successful call it is `every_s` again. Of several failures in a
    row only the first is logged: as a warning if it is expected, else as an error with its traceback.

    `stop` does not cancel a running call but waits for its end: a cancelled call of Redis can swallow the cancellation.

    Args:
        work: The coroutine function, called without arguments.
        every_s: Pause between two calls, in seconds.
        expected: The kind of error that a call raises if something outside of this process fails.
        longest_pause_s: Longest pause after failed calls, in seconds; at least `every_s`.
    """

    def __init__(
        self,
        work: Callable[[], Awaitable[None]],
        every_s: float,
        *,
        expected: type[Exception] | None = None,
        longest_pause_s: float = LONGEST_PAUSE_S,
    ) -> None:
        self._work = work
        self._every_s = every_s
        self._expected = expected
        self._longest_pause_s = max(longest_pause_s, every_s)
        self._failures = 0
        self._wake = asyncio.Event()
        self._is_stopped = False
        self._task: asyncio.Task[None] | None = None

    @property
    def pause_s(self) -> float:
        """The pause before the function's next call, in seconds: doubled for each failure in a row, up to a limit."""
        return min(self._every_s * (1 << self._failures), self._longest_pause_s)

    def start(self) -> None:
        """Starts the background task, which calls the coroutine function for the first time after one pause."""
        self._task = asyncio.create_task(self._run())

    def now(self) -> None:
        """Ends the current pause, so that the next call of the coroutine function begins at once.

        Does nothing after a failed call, so that what has failed, such as Redis, is not called too often.
        """
        if not self._failures:
            self._wake.set()

    async def stop(self) -> None:
        """Waits until a running call of the coroutine function has ended, then ends the background task."""
        self._is_stopped = True
        self._wake.set()
        if self._task is not None:
            await self._task

    async def _run(self) -> None:
        while True:
            timer = asyncio.get_running_loop().call_later(self.pause_s, self._wake.set)
            await self._wake.wait()
            timer.cancel()
            self._wake.clear()
            if self._is_stopped:
                return
            try:
                await self._work()
            except Exception as error:
                if not self._failures:
                    self._log(error)
                self._failures = min(self._failures + 1, 32)
            else:
                if self._failures:
                    logger.info("%s succeeded again", self._work.__qualname__)
                self._failures = 0

    def _log(self, error: Exception) -> None:
        name = self._work.__qualname__
        if self._expected is not None and isinstance(error, self._expected):
            logger.warning("%s waits until what it needs answers; see to that if it does not soon: %s", name, error)
        else:
            logger.error("%s failed; it is called again until it succeeds: %s", name, error, exc_info=error)
