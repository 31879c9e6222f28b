"""Appends events to an SQLite file from a process of its own: `python -m … <file> <first> <last> <events in a call>`.

Prints the numbers of a call's events after the store has answered: accepted, then the first and the last number.
"""

import asyncio
import sys
from pathlib import Path

from rqrec.service.events.event import Event
from rqrec.service.events.sqlite_store import SqliteEventStore
from rqrec.service.events.store import StoreLimits

CALLERS = 8


def numbered(number: int) -> Event:
    return Event(str(number), f"user {number % 5}", f"item {number}", "view", float(number))


async def write(path: Path, first: int, last: int, size: int) -> None:
    store = SqliteEventStore(path, StoreLimits(user_history=1 << 30))
    begins = iter(range(first, last, size))

    async def call() -> None:
        for begin in begins:
            end = min(begin + size, last)
            result = await store.append([numbered(number) for number in range(begin, end)])
            print(result.accepted, begin, end, flush=True)

    await asyncio.gather(*(call() for _ in range(CALLERS)))
    await store.close()


if __name__ == "__main__":
    asyncio.run(write(Path(sys.argv[1]), *map(int, sys.argv[2:])))
