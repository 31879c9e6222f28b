"""Shows the progress of a bulk run: a bar in a terminal, else a log line every 20 seconds."""

import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

LINE_EVERY_S = 20.0
logger = logging.getLogger("rqrec")


@contextmanager
def user_progress(total: int, done: int) -> Iterator[Callable[[int], None]]:
    """Shows the progress until the block ends. Yields a function that gets the number of further users that are done.

    Args:
        total: The number of users.
        done: The number of users that an earlier run has done.
    """
    if Console(file=sys.stderr).is_dumb_terminal or not sys.stderr.isatty():
        yield _Lines(total, done).advance
        return
    text = TextColumn("{task.completed:,.0f} of {task.total:,.0f} users")
    with Progress(BarColumn(), text, TimeElapsedColumn(), TimeRemainingColumn(), console=Console(stderr=True)) as bars:
        bar = bars.add_task("lists", total=total, completed=done)
        yield lambda users: bars.advance(bar, users)


class _Lines:
    """Tells the progress in log lines."""

    def __init__(self, total: int, done: int) -> None:
        self._total, self._done, self._first = total, done, done
        self._begin = self._told = time.monotonic()

    def advance(self, users: int) -> None:
        self._done += users
        now = time.monotonic()
        if now - self._told >= LINE_EVERY_S:
            self._told = now
            rate = (self._done - self._first) / (now - self._begin)
            logger.info("%s of %s users, %.0f a second", f"{self._done:,}", f"{self._total:,}", rate)
