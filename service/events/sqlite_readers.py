"""The threads of a process that read the SQLite file of the event store, each with a connection of its own."""

import asyncio
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from rqrec.service.errors import StoreUnavailable
from rqrec.service.events.sqlite_file import open_for_reading

ResultT = TypeVar("ResultT")
NUM_READERS = 2


class SqliteReaders:
    """Runs functions that read the file of a store, in threads. Readers wait neither for writers nor for each other.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._threads = ThreadPoolExecutor(NUM_READERS, "event store reader")
        self._connections: dict[int, sqlite3.Connection] = {}  # by thread

    async def run(self, read: Callable[[sqlite3.Connection], ResultT], if_missing: ResultT) -> ResultT:
        """Runs a function that reads, and returns its result.

        Args:
            read: The function.
            if_missing: The result as long as the file is missing.

        Raises:
            StoreUnavailable: If SQLite answers with an error, or the file cannot be used or read.
        """
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._read, read, if_missing)

    async def close(self) -> None:
        """Waits for the calls that were made before, then closes the file."""
        await asyncio.to_thread(self._threads.shutdown)
        for connection in self._connections.values():
            connection.close()

    def _read(self, read: Callable[[sqlite3.Connection], ResultT], if_missing: ResultT) -> ResultT:
        thread = threading.get_ident()
        try:
            if thread not in self._connections:
                connection = open_for_reading(self._path)
                if connection is None:
                    return if_missing
                self._connections[thread] = connection
            return read(self._connections[thread])
        except (sqlite3.Error, OSError, ValueError) as error:  # ValueError: a value is not the JSON that was written
            if (failed := self._connections.pop(thread, None)) is not None:
                failed.close()
            raise StoreUnavailable(f"{type(error).__name__}: {error}") from error
