"""Reads how much an event store holds: its records, its histories, its impressions, and its bytes."""

import sqlite3
from collections import Counter
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from benchmarks.support.machine import MIB
from benchmarks.support.running import RedisServer

TABLES = {"records": "records", "entries": "history", "impressions": "impressions", "event_ids": "event_ids"}
TYPES = {"stream": "records", "history": "entries", "impression": "impressions", "id": "event_ids"}


@dataclass(frozen=True)
class StoreSize:
    """How much an event store holds.

    Attributes:
        records: Events in the stream that were not exported yet.
        entries: Entries of all histories.
        impressions: Lists that were shown and have not expired.
        event_ids: Remembered ids of events; each is kept for a day.
        mib: Size of the files, or the memory of Redis, in MiB.
    """

    records: int
    entries: int
    impressions: int
    event_ids: int
    mib: float


def sqlite_size(file: Path) -> StoreSize:
    """Reads the size of a store in an SQLite file; its write-ahead log counts."""
    files = [one for one in (file, file.with_name(f"{file.name}-wal")) if one.exists()]
    with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as connection:
        counts = {
            name: int(connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0])  # noqa: S608
            for name, table in TABLES.items()
        }
    return StoreSize(**counts, mib=sum(one.stat().st_size for one in files) / MIB)


def redis_size(redis: RedisServer) -> StoreSize:
    """Reads the size of a store in Redis."""
    counts, client = Counter(dict.fromkeys(TYPES.values(), 0)), redis.client
    for key in client.scan_iter("*{events:*", count=10_000):
        kind = key.partition("}:")[2].partition(":")[0]
        if kind in TYPES:
            number = client.xlen(key) if kind == "stream" else client.llen(key) if kind == "history" else 1
            counts[TYPES[kind]] += int(number)
    return StoreSize(**counts, mib=client.info("memory")["used_memory"] / MIB)
