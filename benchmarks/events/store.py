"""Measures both event stores: events per second, the time of reading a history, and the bytes of a full history.

    python -m benchmarks.events.store

The SQLite file lies in the folder of temporary files; set TMPDIR to another disk. Redis runs on this machine and is on
the disk before it answers, as with the SQLite file.
"""

import asyncio
import json
import random
import sqlite3
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import cast

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.support.machine import description
from benchmarks.support.running import RedisServer, running_redis
from rqrec.service.events.event import Event
from rqrec.service.events.redis_keys import NUM_SHARDS, history_key, stream_key
from rqrec.service.events.redis_store import RedisEventStore
from rqrec.service.events.sqlite_store import SqliteEventStore
from rqrec.service.events.store import EventStore, StoreLimits
from rqrec.service.redis.client import RedisGate
from rqrec.service.redis.options import RedisOptions
from rqrec.service.telemetry import Metrics

CALLERS, CALL_SIZES, SECONDS = (1, 16), (1, 100), 4.0
NUM_USERS, NUM_ITEMS = 10_000, 20_000
FULL_USERS, READS = 100, 2000


def random_event(user_id: str | None = None) -> Event:
    """Returns an event of a random user with a random item, and with a UUID as its id."""
    return Event(
        event_id=f"{random.getrandbits(128):032x}",
        user_id=user_id or f"user-{random.randrange(NUM_USERS)}",
        item_id=f"item-{random.randrange(NUM_ITEMS)}",
        type="view",
        at=round(time.time(), 3),
    )


async def events_per_second(store: EventStore, callers: int, size: int) -> float:
    """Returns how many events a store accepts in a second.

    Args:
        store: The store.
        callers: Number of concurrent callers; each calls again when its call was answered.
        size: Events in a call.
    """
    begin, accepted = time.perf_counter(), 0

    async def call() -> None:
        nonlocal accepted
        while time.perf_counter() - begin < SECONDS:
            result = await store.append([random_event() for _ in range(size)])
            accepted += result.accepted

    await asyncio.gather(*(call() for _ in range(callers)))
    return accepted / (time.perf_counter() - begin)


async def read_times_ms(store: EventStore) -> list[float]:
    """Returns how long reading a full history takes, in milliseconds: the median and the 99th percentile."""
    times = []
    for number in range(READS):
        begin = time.perf_counter()
        entries = await store.history(f"full-{number % FULL_USERS}", StoreLimits().user_history)
        times.append(1000 * (time.perf_counter() - begin))
        assert len(entries) == StoreLimits().user_history
    return [float(one) for one in np.percentile(times, (50, 99))]


async def measure(store: EventStore, sizes: Callable[[], dict[str, float]]) -> dict[str, float]:
    """Measures an empty store, and returns the figures by name.

    Args:
        store: The store.
        sizes: Returns sizes of what the store holds, by name.
    """
    full = [random_event(f"full-{user}") for user in range(FULL_USERS) for _ in range(StoreLimits().user_history)]
    for begin in range(0, len(full), 1000):
        await store.append(full[begin : begin + 1000])
    figures = sizes()
    figures["history_p50_ms"], figures["history_p99_ms"] = await read_times_ms(store)
    for callers in CALLERS:
        for size in CALL_SIZES:
            figures[f"events_per_s_{callers}_callers_of_{size}"] = await events_per_second(store, callers, size)
    return figures


async def measure_sqlite(folder: Path) -> dict[str, float]:
    """Measures a store in an SQLite file, and returns the figures by name."""
    store = SqliteEventStore(folder / "events.sqlite", StoreLimits())

    def sizes() -> dict[str, float]:
        with closing(sqlite3.connect(folder / "events.sqlite")) as connection:
            sizes = dict(connection.execute("SELECT name, sum(pgsize) FROM dbstat GROUP BY name"))
        num_events = FULL_USERS * StoreLimits().user_history
        return {
            "bytes_of_full_history": sizes["history"] / FULL_USERS,
            "bytes_of_event_in_stream": (sizes["records"] + sizes["records_of_user"]) / num_events,
            "bytes_of_event_id": (sizes["event_ids"] + sizes["event_ids_by_expiry"]) / num_events,
        }

    try:
        return await measure(store, sizes)
    finally:
        await store.close()


async def measure_redis(server: RedisServer) -> dict[str, float]:
    """Measures a store in Redis, and returns the figures by name."""
    options = RedisOptions(server.url, timeout_s=5.0, retries=1, max_connections=16, pause_s=1.0)
    gate = RedisGate(options, Metrics())

    def sizes() -> dict[str, float]:
        def num_bytes(key: str) -> float:
            return float(cast("int", server.client.memory_usage(key, samples=0)))

        marks = list(server.client.scan_iter("*:id:*", count=1000))
        streams = [stream_key(shard) for shard in range(NUM_SHARDS) if server.client.exists(stream_key(shard))]
        return {
            "bytes_of_full_history": num_bytes(history_key("full-0")),
            "bytes_of_event_in_stream": sum(map(num_bytes, streams)) / len(marks),
            "bytes_of_event_id": num_bytes(marks[0]),
        }

    try:
        return await measure(RedisEventStore(gate, StoreLimits()), sizes)
    finally:
        await gate.close()


def main() -> None:
    """Measures both stores, prints a table, and as the last line the same as JSON."""
    with tempfile.TemporaryDirectory() as folder, running_redis(Path(folder), keeps=True) as server:
        stores = {"sqlite": asyncio.run(measure_sqlite(Path(folder))), "redis": asyncio.run(measure_redis(server))}
    table = Table("", *stores, title=f"The event stores\n{description()}")
    for name in stores["sqlite"]:
        table.add_row(name, *(f"{figures[name]:,.3g}" for figures in stores.values()))
    Console().print(table)
    print(json.dumps(stores))


if __name__ == "__main__":
    main()
