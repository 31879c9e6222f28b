"""Measures what it costs to count outcomes: events that name a recommendation, beside the same events without one.

    python -m benchmarks.events.outcomes

Both kinds of events take turns in one store, so other work of the machine slows down both. Each event names a list of
its own, which is the most costly case. `rate` is the rate of events with a name, divided by that of events without.
`cpu` is the same for events in a second of processor time (of this process and of Redis). Both are medians of the
rounds. Redis is on the disk before it answers, as is the SQLite file. The last line is JSON.
"""

import argparse
import asyncio
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.events.store import random_event
from benchmarks.support.machine import description
from benchmarks.support.running import RedisServer, running_redis
from rqrec.service.events.event import Event, Impression
from rqrec.service.events.redis_store import RedisEventStore
from rqrec.service.events.sqlite_store import SqliteEventStore
from rqrec.service.events.store import EventStore, StoreLimits
from rqrec.service.ids import uuid_by_time
from rqrec.service.outcomes.outcome_counts import bucket_of
from rqrec.service.redis.client import RedisGate
from rqrec.service.redis.options import RedisOptions
from rqrec.service.telemetry import Metrics

CALLERS, CALL_SIZES, ITEMS, TRIAL = (1, 16), (1, 100), 10, 1
LIMITS = StoreLimits(click_types=frozenset({"view"}))
Turn = tuple[float, float]  # seconds, and seconds of processor time


def shown_for(event: Event) -> Impression:
    """Returns a list of a trial that was shown to the user of an event, the one that the event names."""
    assert event.recommendation_id is not None
    items = tuple(random_event().item_id for _ in range(ITEMS))
    shown = Impression(event.recommendation_id, event.user_id, "home", "model-1", "active", items, time.time())
    return replace(shown, trial=TRIAL, bucket=bucket_of(event.user_id))


async def turn(store: EventStore, events: Sequence[Event], callers: int, size: int, cpu: Callable[[], float]) -> Turn:
    """Stores events, and returns how long it took.

    Args:
        store: The store.
        events: The events.
        callers: Number of concurrent callers.
        size: Events in a call.
        cpu: Returns the processor time that was used until now.
    """
    calls: Iterator[Sequence[Event]] = iter([events[begin : begin + size] for begin in range(0, len(events), size)])

    async def call() -> None:
        for some in calls:
            assert (await store.append(some)).accepted == len(some)

    begin, begin_cpu = time.perf_counter(), cpu()
    await asyncio.gather(*(call() for _ in range(callers)))
    return time.perf_counter() - begin, cpu() - begin_cpu


async def measure(store: EventStore, cpu: Callable[[], float], *, calls: int, rounds: int) -> dict[str, float]:
    """Returns the rates of events that name a list, as parts of the rates of plain events.

    Args:
        store: An empty store.
        cpu: Returns the processor time that was used until now, in seconds.
        calls: Calls of a turn.
        rounds: Turns of each kind.
    """
    figures: dict[str, float] = {}
    for callers in CALLERS:
        for size in CALL_SIZES:
            turns = list[tuple[Turn, Turn]]()
            for _ in range(rounds):
                plain, named = ([random_event() for _ in range(calls * size)] for _ in range(2))
                named = [replace(one, recommendation_id=uuid_by_time()) for one in named]
                for begin in range(0, len(named), 500):
                    await store.add_impressions([shown_for(one) for one in named[begin : begin + 500]])
                first = await turn(store, plain, callers, size, cpu)
                turns.append((first, await turn(store, named, callers, size, cpu)))
            for place, name in enumerate(("rate", "cpu")):
                ratios = [plain[place] / named[place] for plain, named in turns]
                figures[f"{name}_{callers}_callers_of_{size}"] = round(statistics.median(ratios), 2)
    return figures


async def measure_redis(server: RedisServer, *, calls: int, rounds: int) -> dict[str, float]:
    """Measures a store in Redis; see `measure`."""
    gate = RedisGate(RedisOptions(server.url, timeout_s=5.0, retries=1, max_connections=16, pause_s=1.0), Metrics())

    def cpu() -> float:
        used = server.client.info("cpu")
        return time.process_time() + float(used["used_cpu_user"]) + float(used["used_cpu_sys"])

    try:
        return await measure(RedisEventStore(gate, LIMITS), cpu, calls=calls, rounds=rounds)
    finally:
        await gate.close()


async def measure_sqlite(folder: Path, *, calls: int, rounds: int) -> dict[str, float]:
    """Measures a store in an SQLite file; see `measure`."""
    store = SqliteEventStore(folder / "events.sqlite", LIMITS)
    try:
        return await measure(store, time.process_time, calls=calls, rounds=rounds)
    finally:
        await store.close()


def main() -> None:
    """Measures both stores, prints a table, and as the last line the same as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=64, help="calls of a turn (default 64)")
    parser.add_argument("--rounds", type=int, default=9, help="turns of each kind (default 9)")
    options = vars(parser.parse_args())
    with tempfile.TemporaryDirectory() as folder, running_redis(Path(folder), keeps=True) as server:
        found = {
            "sqlite": asyncio.run(measure_sqlite(Path(folder), **options)),
            "redis": asyncio.run(measure_redis(server, **options)),
        }
    table = Table("", *found, title=f"Events that name a list, in plain events\n{description()}")
    for name in found["sqlite"]:
        table.add_row(name, *(f"{figures[name]:.2f}" for figures in found.values()))
    Console().print(table)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
