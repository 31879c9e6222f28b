"""The one thread of a process that writes to the SQLite file of the event store.

A commit waits for the disk, for some milliseconds. So calls that wait at the same time share one transaction.
"""

import asyncio
import logging
import sqlite3
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from queue import Empty, Full, Queue
from typing import Any, TypeVar

from rqrec.service.errors import StoreUnavailable
from rqrec.service.events.sqlite_file import open_for_writing

CallT = TypeVar("CallT")
ResultT = TypeVar("ResultT")
MAX_WAITING, MAX_GROUP = 1024, 64  # calls
logger = logging.getLogger("rqrec")


@dataclass(frozen=True)
class _Job:
    """A call that waits: the function that runs it together with others, its argument, and its result."""

    work: Callable[[sqlite3.Connection, Sequence[Any]], Sequence[Any]]
    call: Any
    result: Future[Any] = field(default_factory=Future)


class SqliteWriter:
    """Runs calls that write, in a thread of its own. Calls that wait at the same time share one transaction.

    Opens the file at the first call, and again after an error.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection: sqlite3.Connection | None = None
        self._is_closed = False
        self._is_failing = False  # only the first of several failures in a row is logged
        self._jobs: Queue[_Job | None] = Queue(MAX_WAITING)
        self._thread = threading.Thread(target=self._run, name="event store", daemon=True)
        self._thread.start()

    async def run(
        self, work: Callable[[sqlite3.Connection, Sequence[CallT]], Sequence[ResultT]], call: CallT
    ) -> ResultT:
        """Runs a call in a transaction, together with others, and returns its result when it is on the disk.

        Args:
            work: The function that runs several calls, in a transaction that it neither begins nor ends, and returns
                the result of each. If it raises an exception, none of the calls has an effect.
            call: The argument of this call.

        Raises:
            StoreUnavailable: If too many calls wait, SQLite answers with an error, or the store is closed.
        """
        if self._is_closed:
            raise StoreUnavailable("the event store is closed")
        job = _Job(work, call)
        try:
            self._jobs.put_nowait(job)
        except Full:
            raise StoreUnavailable(f"{MAX_WAITING} calls wait for the event store already") from None
        result: ResultT = await asyncio.wrap_future(job.result)
        return result

    async def close(self) -> None:
        """Waits for the calls that were made before, then closes the file."""
        self._is_closed = True
        await asyncio.to_thread(self._jobs.put, None)
        await asyncio.to_thread(self._thread.join)

    def _run(self) -> None:
        is_open = True
        while is_open:
            jobs = [self._jobs.get()]
            with suppress(Empty):
                while len(jobs) < MAX_GROUP:
                    jobs.append(self._jobs.get_nowait())
            is_open = None not in jobs
            self._run_together([job for job in jobs if job and job.result.set_running_or_notify_cancel()])
        self._disconnect()

    def _run_together(self, jobs: Sequence[_Job]) -> None:
        """Runs calls in one transaction, in their order, and gives each its result or the error."""
        try:
            results = self._commit(jobs) if jobs else []
        except Exception as error:
            if not self._is_failing:
                logger.warning("the event store cannot write %s: %s: %s", self._path, type(error).__name__, error)
            self._is_failing = True
            self._disconnect()
            for job in jobs:
                job.result.set_exception(_unavailable(error))
        else:
            self._is_failing = False
            for job, result in zip(jobs, results, strict=True):
                job.result.set_result(result)

    def _commit(self, jobs: Sequence[_Job]) -> list[Any]:
        if self._connection is None:
            self._connection = open_for_writing(self._path)
        self._connection.execute("BEGIN IMMEDIATE")
        results: list[Any] = []
        for work, some in groupby(jobs, attrgetter("work")):
            results += work(self._connection, [job.call for job in some])
        self._connection.execute("COMMIT")
        return results

    def _disconnect(self) -> None:
        """Closes the file; SQLite rolls back what was not committed."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _unavailable(error: Exception) -> StoreUnavailable:
    return error if isinstance(error, StoreUnavailable) else StoreUnavailable(f"{type(error).__name__}: {error}")
