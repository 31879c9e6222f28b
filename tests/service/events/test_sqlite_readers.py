import asyncio
import sqlite3
import time
from pathlib import Path

import pytest

from rqrec.service.events import sqlite_readers as module
from rqrec.service.events.sqlite_file import open_for_writing
from rqrec.service.events.sqlite_readers import SqliteReaders

SLOW_S = 0.05


def quickly(connection: sqlite3.Connection) -> str:
    return "quickly"


def slowly(connection: sqlite3.Connection) -> str:
    time.sleep(1.2 * SLOW_S)
    return "slowly"


def test_slow_reads_in_turn_send_reads_to_the_threads_for_a_while(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SLOW_S", SLOW_S)
    monkeypatch.setattr(module, "SLOW_FOR_S", 1.0)

    async def scenario() -> None:
        open_for_writing(file).close()
        readers = SqliteReaders(file)
        assert readers.read_at_once(quickly) is None  # nothing is open yet
        assert await readers.run(quickly, "") == "quickly"
        for read in (slowly, quickly, slowly, quickly, slowly, slowly):  # another program may have the processor once
            assert readers.read_at_once(read) is not None
        assert readers.read_at_once(quickly) is None
        assert await readers.run(quickly, "") == "quickly"
        await asyncio.sleep(1.0)
        assert readers.read_at_once(quickly) == "quickly"
        await readers.close()

    asyncio.run(scenario())
