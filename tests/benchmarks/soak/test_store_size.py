import asyncio
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.soak.store_size import StoreSize, redis_size, sqlite_size
from benchmarks.support.running import RedisServer, running_redis
from rqrec.service.events.event import Event, Impression
from rqrec.service.events.redis_store import RedisEventStore
from rqrec.service.events.sqlite_store import SqliteEventStore
from rqrec.service.events.store import EventStore, StoreLimits
from rqrec.service.redis.client import RedisGate
from rqrec.service.redis.options import RedisOptions
from rqrec.service.telemetry import Metrics

NOW = time.time()


async def fill(store: EventStore) -> None:
    """Three events of one user with two entries at most, of which one event is in the stream, and one list."""
    await store.append([Event(f"e{n}", "u", "i", "view", NOW + n) for n in range(2)])
    await store.trim((await store.read("", 100)).position)
    await store.append([Event("e2", "u", "i", "view", NOW + 2)])
    await store.add_impressions([Impression("r", "u", None, "m", "active", ("i",), NOW)])


def check(size: Callable[[], StoreSize]) -> None:
    found = size()
    assert (found.records, found.entries, found.impressions, found.event_ids) == (1, 2, 1, 3)
    assert 0 < found.mib < 10


def test_the_size_of_a_sqlite_store_is_read(tmp_path: Path) -> None:
    file = tmp_path / "events.sqlite"

    async def scenario() -> None:
        store = SqliteEventStore(file, StoreLimits(user_history=2))
        await fill(store)
        check(lambda: sqlite_size(file))
        await store.close()

    asyncio.run(scenario())


def test_the_size_of_a_store_in_redis_is_read(tmp_path: Path) -> None:
    async def scenario(redis: RedisServer) -> None:
        options = RedisOptions(redis.url, timeout_s=5.0, retries=1, max_connections=16, pause_s=1.0)
        gate = RedisGate(options, Metrics())
        await fill(RedisEventStore(gate, StoreLimits(user_history=2)))
        check(lambda: redis_size(redis))
        await gate.close()

    with running_redis(tmp_path) as redis:
        asyncio.run(scenario(redis))
