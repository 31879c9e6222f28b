"""Injects many faults at once into a running service, and checks every answer.

    python -m benchmarks.chaos --bundle artifacts/ml-100k/bundles --seconds 300

Starts the service as in the README, with two models and a Redis that keeps its data as in docker-compose.yml. Clients
ask for recommendations by history and by user, send events, read and forget users, and write and delete items. At the
same time Redis is killed and restarted, Redis loses keys or finds foreign content in them, also in those of single
users, Redis is paused or killed while they are restored, the other model is activated, bursts overload the queue,
malformed bodies and faulty events arrive, and `rqrec export-events` is killed.

Every list is checked against the catalogue of the model version that it names, and against the changes, events and
lists confirmed before. At the end every confirmed change must exist, every acknowledged event must be in the exported
files or in the stream once, every list and outcome must be counted once, and nothing of a forgotten user may be left.
The last line printed is JSON: requests sent, answered and shed (429, 503, 504), wrong answers, and lost requests,
events or confirmed changes. The last two must be 0.
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
from functools import partial
from pathlib import Path

from benchmarks.chaos.caller import TOKEN, Caller
from benchmarks.chaos.forgetting import PREFIX as GONE
from benchmarks.chaos.forgetting import ForgettingClient
from benchmarks.chaos.items import ItemClients
from benchmarks.chaos.redis_faults import Faults
from benchmarks.chaos.trial_account import TrialAccount
from benchmarks.chaos.users import PREFIX as KNOWN
from benchmarks.chaos.users import UserClients
from benchmarks.events.comparison import compare_events
from benchmarks.events.export import Export
from benchmarks.support.answer_check import AnswerCheck
from benchmarks.support.running import RedisServer, running_redis, running_service
from benchmarks.support.two_models import two_models
from rqrec.models.bundle.bundle import Bundle, read_bundle
from rqrec.training.runtime.progress import progress, set_up_output

CLIENTS, WRITERS, USER_CLIENTS, EVENT_CLIENTS = 4, 2, 3, 2
REDIS_EVERY_S, DAMAGE_EVERY_S, MODEL_EVERY_S, BURST_EVERY_S = 8.0, 3.0, 12.0, 10.0
FORGET_EVERY_S, LOOK_EVERY_S, USER_EVERY_S, EXPORT_EVERY_S = 1.0, 0.5, 6.0, 15.0
PAUSE_S, READ_EVERY_S = 0.02, 0.2  # between two requests of a client
BOUND = 500  # entries of a history; the default of RQREC_USER_HISTORY


class Chaos:
    """The clients and the faults, with counts of what happened.

    Args:
        url: The service's address.
        bundles: The models by version.
        redis: The Redis server to kill.
        export: The export of the events.
        seconds: Duration in seconds.
        seed: Seed of all random choices.

    Attributes:
        counts: Requests sent, answered and shed, wrong answers, and what was lost.
        events: How often each thing happened, by name.
        faults: Descriptions of what was wrong or lost.
        items: The clients that write items.
        users: The clients of known users.
        forgetting: The client that has users forgotten.
    """

    def __init__(
        self, url: str, bundles: dict[str, Bundle], redis: RedisServer, export: Export, *, seconds: float, seed: int
    ) -> None:
        self._rng = random.Random(seed)
        self._caller = Caller(url)
        self.counts: Counter[str] = self._caller.counts
        self.events: Counter[str] = self._caller.events
        self.faults: list[str] = self._caller.faults
        first, check, account = next(iter(bundles.values())), AnswerCheck(bundles), TrialAccount()
        ids = first.items["item_id"].to_list()
        self.items = ItemClients(self._caller, check, account, first, self._rng)
        self.users = UserClients(self._caller, check, account, ids, self._rng)
        self.forgetting = ForgettingClient(self._caller, account, ids, self._rng)
        self._broken = Faults(self._caller, redis, list(bundles), account, self._rng)
        self._export = export
        self._end = time.monotonic() + seconds

    async def run(self) -> None:
        """Runs all clients and faults, then compares what the service has with what it has confirmed."""
        async with self._caller:
            exports = asyncio.create_task(self._export.run_often(self._rng, EXPORT_EVERY_S))
            await asyncio.gather(
                *(self._until_the_end(self.items.recommend, PAUSE_S) for _ in range(CLIENTS)),
                *(self._until_the_end(partial(self.items.write, writer), PAUSE_S) for writer in range(WRITERS)),
                *(self._until_the_end(self.users.recommend, PAUSE_S) for _ in range(USER_CLIENTS)),
                *(self._until_the_end(self.users.send_events, PAUSE_S) for _ in range(EVENT_CLIENTS)),
                self._until_the_end(self.users.read_user, READ_EVERY_S),
                self._until_the_end(self.forgetting.forget_a_user, FORGET_EVERY_S),
                self._until_the_end(self.forgetting.look_again, LOOK_EVERY_S),
                self._until_the_end(self.items.send_garbage, PAUSE_S),
                self._until_the_end(self._broken.restart_redis, REDIS_EVERY_S),
                self._until_the_end(self._broken.damage_redis, DAMAGE_EVERY_S),
                self._until_the_end(self._broken.damage_a_user, USER_EVERY_S),
                self._until_the_end(self._broken.change_model, MODEL_EVERY_S),
                self._until_the_end(self.items.burst, BURST_EVERY_S),
                self._show(),
            )
            exports.cancel()
            await asyncio.gather(exports, return_exceptions=True)
            await self.items.check_what_was_written()
            await self._broken.check_counts()
            await self.forgetting.check_all()
            await self._compare_events()

    async def _until_the_end(self, work: Callable[[], Awaitable[None]], pause_s: float) -> None:
        while (left_s := self._end - time.monotonic()) > 0:
            pause = pause_s * self._rng.uniform(0.5, 1.5)
            await asyncio.sleep(min(pause, left_s))
            if pause < left_s:
                await work()

    async def _show(self) -> None:
        begin = time.monotonic()
        with progress("chaos", total=max(round(self._end - begin), 1), unit="seconds") as task:
            while time.monotonic() < self._end:
                await asyncio.sleep(1.0)
                task.show(done=int(time.monotonic() - begin))

    async def _compare_events(self) -> None:
        await self._export.run()
        self.events.update(self._export.counts)
        ask = self._caller.ask_until_answered
        found = await compare_events(self.users.ledger, self._export.folder, ask, bound=BOUND, prefixes=(KNOWN, GONE))
        for text in found.lost:
            self._caller.fault("lost", text)
        for text in [*found.twice, *found.wrong]:
            self._caller.fault("wrong", text)


def run(bundle: Path, *, seconds: float, seed: int, log: Path = Path(os.devnull)) -> Chaos:
    """Starts the service and its Redis, and injects faults.

    Args:
        bundle: A bundle, or a folder of bundles.
        seconds: Duration in seconds.
        seed: Seed of all random choices.
        log: The file of the output of the service and of the export.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for part in ("bundles", "redis"):
            (folder / part).mkdir()
        bundles = two_models(read_bundle(bundle), folder / "bundles")
        with running_redis(folder / "redis", keeps=True) as redis:
            settings = {
                "RQREC_BUNDLE": str(folder / "bundles"),
                "RQREC_REDIS_URL": redis.url,
                "RQREC_ADMIN_TOKEN": TOKEN,
                "RQREC_USER_HISTORY": str(BOUND),
                "RQREC_BODY_TIMEOUT_S": "30",  # all clients share one thread, so in a burst a body may come late
            }
            export = Export({**os.environ, **settings}, folder / "export", log)
            with running_service(settings, log=log) as (url, _):
                chaos = Chaos(url, bundles, redis, export, seconds=seconds, seed=seed)
                asyncio.run(chaos.run())
    return chaos


def main() -> None:
    """Runs and prints the counts. Exits with status 1 if an answer was wrong or something was lost."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, required=True, help="a bundle, or a folder of bundles")
    parser.add_argument("--seconds", type=float, default=300, help="how long (default 300)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--log", type=Path, default=Path(os.devnull), help="where the logs go (default: nowhere)")
    arguments = parser.parse_args()
    set_up_output()
    chaos = run(arguments.bundle, seconds=arguments.seconds, seed=arguments.seed, log=arguments.log)
    for fault in chaos.faults[:10]:
        print(fault)
    print(json.dumps(chaos.events))
    print(json.dumps(chaos.counts))
    sys.exit(chaos.counts["wrong"] + chaos.counts["lost"] > 0)


if __name__ == "__main__":
    main()
