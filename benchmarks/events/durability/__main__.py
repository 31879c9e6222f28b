"""Kills replicas, Redis and exports while events come in, and counts what is lost or there twice.

    python -m benchmarks.events.durability --bundle artifacts/ml-100k/bundles --store redis --seconds 300

Two replicas are killed (SIGKILL) and restarted at random, and so are Redis (appendonly yes, appendfsync always) and
`rqrec export-events`. Clients send events, repeat calls that fail and some that do not, ask for lists by user and, with
Redis, write and delete items. With SQLite both replicas use one file. The clients keep an account of what was
acknowledged. At the end it is compared with the exported files, the stream, the users' histories and the items. The
last line printed is JSON; `lost`, `twice`, `items_lost` and `wrong` must be 0.
"""

import argparse
import asyncio
import json
import os
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.events.comparison import compare_events
from benchmarks.events.durability.clients import TOKEN, Clients
from benchmarks.events.durability.system import Replica, System
from benchmarks.events.export import Export
from benchmarks.support.running import running_redis
from rqrec.models.bundle.bundle import read_bundle

STORES = ("redis", "sqlite")
EVENT_CLIENTS, LIST_CLIENTS, WRITERS = 4, 3, 2
BOUND = 500  # entries of a history; the default of RQREC_USER_HISTORY
PAUSE_S = 0.03  # between two requests of a client
KILL_EVERY_S, REDIS_EVERY_S, REDIS_AWAY_S = (3.0, 12.0), (5.0, 15.0), (0.1, 3.0)


class Faults:
    """Runs clients and kills for some time.

    Args:
        system: The system under test.
        clients: The clients.
        seconds: Duration in seconds.
        seed: Seed of the times of the kills.

    Attributes:
        counts: Numbers of kills of replicas and of Redis.
    """

    def __init__(self, system: System, clients: Clients, *, seconds: float, seed: int) -> None:
        self.counts: Counter[str] = Counter(kills=0, redis_kills=0)
        self._system = system
        self._clients = clients
        self._rng = random.Random(seed)
        self._end = time.monotonic() + seconds

    async def run(self) -> None:
        """Runs all of them; at the end every replica and Redis run again."""
        exports = asyncio.create_task(self._system.export.run_often(self._rng))
        pause_s = (0.0, 2 * PAUSE_S)
        async with asyncio.TaskGroup() as group:
            for _ in range(EVENT_CLIENTS):
                group.create_task(self._until_the_end(self._clients.send_events, pause_s))
            for _ in range(LIST_CLIENTS):
                group.create_task(self._until_the_end(self._clients.recommend, pause_s))
            for replica in self._system.replicas:
                group.create_task(self._until_the_end(partial(self._kill, replica), KILL_EVERY_S))
            if self._system.redis is not None:
                group.create_task(self._until_the_end(self._kill_redis, REDIS_EVERY_S))
                for _ in range(WRITERS):
                    group.create_task(self._until_the_end(self._clients.write_item, pause_s))
        if exports.done():
            exports.result()  # raises: the export runs until it is cancelled
        exports.cancel()
        await asyncio.gather(exports, return_exceptions=True)

    async def _until_the_end(self, work: Callable[[], Awaitable[None]], pause_s: tuple[float, float]) -> None:
        while time.monotonic() < self._end:
            await asyncio.sleep(self._rng.uniform(*pause_s))
            await work()

    async def _kill(self, replica: Replica) -> None:
        await asyncio.to_thread(replica.kill)
        self.counts["kills"] += 1
        await asyncio.to_thread(replica.start)

    async def _kill_redis(self) -> None:
        redis = self._system.redis
        assert redis is not None, "only a run with Redis kills Redis"
        await asyncio.to_thread(redis.stop)
        self.counts["redis_kills"] += 1
        await self._clients.check_refusals()
        await asyncio.sleep(self._rng.uniform(*REDIS_AWAY_S))
        await asyncio.to_thread(redis.start)


async def _measure(system: System, clients: Clients, folder: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    faults = Faults(system, clients, seconds=arguments.seconds, seed=arguments.seed)
    await faults.run()
    await system.export.run()
    found = await compare_events(clients.ledger, folder, clients.ask_until_answered, bound=BOUND)
    items_lost = await clients.lost_items()
    await clients.close()
    wrong = clients.faults + found.wrong
    for text in [*found.lost[:10], *found.twice[:10], *items_lost[:10], *wrong[:10]]:
        print(text)
    print(json.dumps(clients.counts + system.export.counts))
    return {
        "store": arguments.store,
        "seconds": arguments.seconds,
        "acknowledged": len(clients.ledger.acknowledged),
        **faults.counts,
        "exports": system.export.counts["exports"],
        "lost": len(found.lost),
        "twice": len(found.twice),
        "items_lost": len(items_lost),
        "wrong": len(wrong),
        "refused": clients.counts["refused"],
    }


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Starts the system, measures and stops it.

    Args:
        arguments: The options of the command: bundle, store, seconds, seed and log.

    Returns:
        The last line of the command.
    """
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        settings = {
            "RQREC_BUNDLE": str(arguments.bundle),
            "RQREC_DATA_DIR": str(folder / "data"),
            "RQREC_ADMIN_TOKEN": TOKEN,
            "RQREC_USER_HISTORY": str(BOUND),
        }
        redis = None
        if arguments.store == "redis":
            (folder / "redis").mkdir()
            redis = stack.enter_context(running_redis(folder / "redis", keeps=True))
            settings["RQREC_REDIS_URL"] = redis.url
        replicas = [Replica(settings, arguments.log) for _ in range(2)]
        for replica in replicas:
            stack.callback(replica.kill)
            replica.start()
        export = Export({**os.environ, **settings}, folder / "export", arguments.log)
        system = System(replicas, redis, export)
        clients = Clients(system, read_bundle(arguments.bundle), arguments.seed)
        return asyncio.run(_measure(system, clients, folder / "export", arguments))


def main() -> None:
    """Runs and prints the counts. Exits with status 1 if something was lost, there twice or answered wrongly."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, required=True, help="a bundle, or a folder of bundles")
    parser.add_argument("--store", choices=STORES, required=True, help="the event store")
    parser.add_argument("--seconds", type=float, default=300, help="how long (default 300)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--log", type=Path, default=Path(os.devnull), help="where the logs go (default: nowhere)")
    result = run(parser.parse_args())
    print(json.dumps(result))
    sys.exit(any(result[name] for name in ("lost", "twice", "items_lost", "wrong")))


if __name__ == "__main__":
    main()
