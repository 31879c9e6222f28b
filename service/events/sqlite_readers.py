"""The connections of a process that read the SQLite file of the event store.

A short read takes some tens of microseconds if the operating system has the pages in memory. Handing it to a thread
takes several times as long. So short reads run in the thread of the event loop, as long as they are fast. A single slow
read says little: another program may have had the processor.
"""

import asyncio
import sqlite3
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from rqrec.service.errors import StoreUnavailable
from rqrec.service.events.sqlite_file import open_for_reading

ResultT = TypeVar("ResultT")
NUM_READERS = 2
SLOW_S, SLOW_READS = 0.002, 2  # so many reads in turn as slow as this come from a slow disk
SLOW_FOR_S = 1.0  # for so long all reads then go to the threads


class SqliteReaders:
    """Runs functions that read the file of a store. Readers wait neither for writers nor for each other.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._threads = ThreadPoolExecutor(NUM_READERS, "event store reader")
        self._connections: dict[int, sqlite3.Connection] = {}  # by thread
        self._opening = threading.Lock()
        self._own: sqlite3.Connection | None = None  # of `read_at_once`
        self._num_slow = 0  # of the last reads of `read_at_once`
        self._slow_until = 0.0  # monotonic seconds

    async def run(self, read: Callable[[sqlite3.Connection], ResultT], if_missing: ResultT) -> ResultT:
        """Runs a function that reads in a thread, and returns its result.

        Args:
            read: The function.
            if_missing: The result as long as the file is missing.

        Raises:
            StoreUnavailable: If SQLite answers with an error, or the file cannot be used or read.
        """
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._read, read, if_missing)

    def read_at_once(self, read: Callable[[sqlite3.Connection], ResultT]) -> ResultT | None:
        """Runs a function that reads little, in this thread. Returns None if only `run` can tell.

        That is so before the first `run`, for some time after slow reads, and after an error.
        """
        if self._own is None or time.monotonic() < self._slow_until:
            return None
        begin = time.perf_counter()
        try:
            return read(self._own)
        except (sqlite3.Error, OSError, ValueError):
            self._own.close()
            self._own = None
            return None
        finally:
            self._num_slow = self._num_slow + 1 if time.perf_counter() - begin > SLOW_S else 0
            if self._num_slow >= SLOW_READS:
                self._slow_until = time.monotonic() + SLOW_FOR_S

    async def close(self) -> None:
        """Waits for the calls that were made before, then closes the file."""
        await asyncio.to_thread(self._threads.shutdown)
        for connection in (*self._connections.values(), *([] if self._own is None else [self._own])):
            connection.close()
        self._own = None

    def _read(self, read: Callable[[sqlite3.Connection], ResultT], if_missing: ResultT) -> ResultT:
        thread = threading.get_ident()
        try:
            if thread not in self._connections:
                connection = open_for_reading(self._path)
                if connection is None:
                    return if_missing
                self._connections[thread] = connection
            result = read(self._connections[thread])
        except (sqlite3.Error, OSError, ValueError) as error:  # ValueError: a value is not the JSON that was written
            if (failed := self._connections.pop(thread, None)) is not None:
                failed.close()
            raise StoreUnavailable(f"{type(error).__name__}: {error}") from error
        self._open_own()
        return result

    def _open_own(self) -> None:
        """Tries to open the connection of `read_at_once`, which waits for no other process."""
        with self._opening, suppress(sqlite3.Error, OSError, StoreUnavailable):
            if self._own is None and (connection := open_for_reading(self._path)) is not None:
                connection.execute("PRAGMA busy_timeout = 0")
                self._own = connection
