"""Replaces the replicas and the model of a service under load, behind a proxy, and counts what callers lose.

    python -m benchmarks.rolling_update --bundle artifacts/ml-100k/bundles

Starts four replicas with one Redis, and HAProxy in front, which asks each replica's `/readyz` and never repeats a
request. Clients ask for recommendations all the time. Then each replica in turn is stopped with SIGTERM and started
again, as a rolling update of Kubernetes does, and then another model is activated by one request. Every list is checked
against the catalogue of the model that it names. It needs the program haproxy.

The last line printed is JSON. "lost" are requests without an answer, "refused" those answered 429, 503 or 504, "wrong"
are false lists; all three must be 0.
"""

import argparse
import asyncio
import json
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import httpx
import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.chaos.caller import TOKEN, Caller
from benchmarks.support.answer_check import AnswerCheck
from benchmarks.support.machine import description
from benchmarks.support.running import free_port, running_redis, running_service
from benchmarks.support.two_models import two_models
from rqrec.models.bundle.bundle import Bundle, read_bundle
from rqrec.training.runtime.progress import progress, set_up_output

REPLICAS, CLIENTS, K, HISTORY = 4, 8, 10, 20
DRAIN_S, CHECK_EVERY_MS = 2, 500
WITHIN_S, AFTERWARDS_S = 60.0, 1.0
SHOWN = 10  # faults
PROXY = """
global
  maxconn 1000
defaults
  mode http
  retries 0
  timeout connect 2s
  timeout client 60s
  timeout server 60s
  timeout check 2s
frontend callers
  bind 127.0.0.1:{port}
  default_backend replicas
backend replicas
  balance leastconn
  option httpchk GET /readyz
  http-check expect status 200
  default-server check inter {every}ms fall 1 rise 1
{servers}
"""


class Phase(NamedTuple):
    """What happened in one phase.

    Attributes:
        name: What was changed.
        seconds: How long it took.
        requests: Number of requests.
        lost: How many got no answer.
        refused: How many were answered 429, 503 or 504.
        wrong: How many got a false list.
        p50_ms: Median of the latency of all requests.
        p99_ms: 99th percentile of it.
    """

    name: str
    seconds: float
    requests: int
    lost: int
    refused: int
    wrong: int
    p50_ms: float
    p99_ms: float


class Replica:
    """One replica, which can be replaced by a new process at the same port.

    Args:
        settings: The service's environment variables.
        log: The file of the service's output.
    """

    def __init__(self, settings: dict[str, str], log: Path) -> None:
        self.port, self._settings, self._log = free_port(), settings, log
        self._running = ExitStack()
        self.url = f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Starts a process and waits until it is ready."""
        service = running_service(self._settings, log=self._log, port=self.port)
        self._running.enter_context(service)

    def stop(self) -> None:
        """Stops the process with SIGTERM, and waits until it has ended."""
        self._running.close()


@contextmanager
def running_proxy(replicas: list[Replica], folder: Path) -> Iterator[str]:
    """Yields the address of a running HAProxy in front of the replicas.

    Args:
        replicas: The replicas.
        folder: The folder of its configuration.
    """
    port, file = free_port(), folder / "haproxy.cfg"
    servers = "\n".join(f"  server r{number} 127.0.0.1:{one.port}" for number, one in enumerate(replicas))
    file.write_text(PROXY.format(port=port, every=CHECK_EVERY_MS, servers=servers))
    process = subprocess.Popen(["haproxy", "-q", "-db", "-f", str(file)])  # noqa: S607 - from the PATH, as wrk is
    try:
        time.sleep(2 * CHECK_EVERY_MS / 1000)  # until it has asked every replica
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


class Load:
    """Clients that ask for recommendations all the time.

    Args:
        caller: Sends the requests.
        check: Checks the lists.
        item_ids: The items of which histories are made.
    """

    def __init__(self, caller: Caller, check: AnswerCheck, item_ids: list[str]) -> None:
        self._caller, self._check, self._item_ids = caller, check, item_ids
        self._rng = random.Random(0)
        self.milliseconds: list[float] = []
        self.versions: set[str] = set()

    async def run(self) -> None:
        """Asks until it is cancelled."""
        await asyncio.gather(*(self._client() for _ in range(CLIENTS)))

    async def _client(self) -> None:
        while True:
            history = self._rng.sample(self._item_ids, HISTORY)
            begin = time.monotonic()
            response = await self._caller.ask(
                "POST", "/recommend", needs_store=False, json={"history": history, "k": K}
            )
            self.milliseconds.append(1000 * (time.monotonic() - begin))
            if response is not None:
                if fault := self._check.fault_of(response, history, K, begin):
                    self._caller.fault("wrong", fault)
                else:
                    self.versions.add(response.json()["model_version"])
            await asyncio.sleep(0.01)


async def replace_each(replicas: list[Replica]) -> None:
    """Stops each replica and starts it again, one after the other.

    Args:
        replicas: The replicas.
    """
    for replica in replicas:
        with progress("replacing a replica"):
            await asyncio.to_thread(replica.stop)
            await asyncio.to_thread(replica.start)
        await asyncio.sleep(2 * CHECK_EVERY_MS / 1000)


async def change_model(replicas: list[Replica], version: str) -> None:
    """Activates a model by a request to one replica, and waits until all replicas serve it.

    Args:
        replicas: The replicas.
        version: The version to activate.
    """
    async with httpx.AsyncClient(headers={"authorization": f"Bearer {TOKEN}"}, timeout=WITHIN_S) as client:
        async with asyncio.timeout(WITHIN_S):
            # A service whose Redis does not answer in time refuses the change with 503, and says to repeat it.
            path = f"{replicas[0].url}/models/{version}/activate"
            while (reply := await client.post(path, json={"part": "active"})).status_code != httpx.codes.OK:
                print(f"the change is repeated: {reply.status_code} {reply.text}", file=sys.stderr)
                await asyncio.sleep(1)
            for replica in replicas:
                while (await client.get(f"{replica.url}/readyz")).json()["models"]["active"] != version:
                    await asyncio.sleep(0.05)


@asynccontextmanager
async def _in_background(work: Coroutine[object, object, None]) -> AsyncIterator[None]:
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def measure(url: str, replicas: list[Replica], bundles: dict[str, Bundle], steady_s: float) -> list[Phase]:
    """Runs the load through all phases. Returns a row for each phase.

    Args:
        url: The proxy's address.
        replicas: The replicas.
        bundles: Both models by version, the active one first.
        steady_s: Duration of the phase in which nothing changes, in seconds.
    """
    first, other = bundles
    phases: dict[str, Callable[[], Awaitable[object]]] = {
        "nothing changes": lambda: asyncio.sleep(steady_s),
        "each replica is replaced": lambda: replace_each(replicas),
        "the model changes": lambda: change_model(replicas, other),
    }
    async with Caller(url) as caller:
        load = Load(caller, AnswerCheck(bundles), bundles[first].items["item_id"].to_list())
        async with _in_background(load.run()):
            rows = [await _measure(name, phase, load, caller) for name, phase in phases.items()]
        for fault in caller.faults[:SHOWN]:
            print(fault, file=sys.stderr)
    if load.versions != {first, other}:
        raise RuntimeError(f"both models must have answered, but these did: {sorted(load.versions)}")
    return rows


async def _measure(name: str, phase: Callable[[], Awaitable[object]], load: Load, caller: Caller) -> Phase:
    load.milliseconds.clear()
    caller.counts.clear()
    begin = time.monotonic()
    await phase()
    await asyncio.sleep(AFTERWARDS_S)
    p50_ms, p99_ms = np.percentile(load.milliseconds, (50, 99))
    sent, lost, shed, wrong = (caller.counts[kind] for kind in ("sent", "lost", "shed", "wrong"))
    return Phase(name, time.monotonic() - begin, sent, lost, shed, wrong, float(p50_ms), float(p99_ms))


def run(bundle: Bundle, folder: Path, *, steady_s: float) -> list[Phase]:
    """Starts everything, and measures.

    Args:
        bundle: The model.
        folder: The folder of all files.
        steady_s: Duration of the phase in which nothing changes, in seconds.
    """
    with ExitStack() as running:
        bundles = two_models(bundle, folder)
        redis = running.enter_context(running_redis(folder, keeps=True))
        settings = {
            "RQREC_BUNDLE": str(folder),
            "RQREC_REDIS_URL": redis.url,
            "RQREC_ADMIN_TOKEN": TOKEN,
            "RQREC_DRAIN_S": str(DRAIN_S),
        }
        replicas = [Replica(settings, folder / f"replica-{number}.log") for number in range(REPLICAS)]
        for replica in replicas:
            running.callback(replica.stop)
            with progress("starting the replicas"):
                replica.start()
        url = running.enter_context(running_proxy(replicas, folder))
        return asyncio.run(measure(url, replicas, bundles, steady_s))


def main() -> None:
    """Measures, and prints the table and one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, default=Path("artifacts/ml-100k/bundles"))
    parser.add_argument("--seconds", type=float, default=15, help="of the phase without a change (default 15)")
    arguments = parser.parse_args()
    if shutil.which("haproxy") is None:
        parser.error("it needs haproxy, which is not installed: apt-get install haproxy")
    set_up_output()
    with tempfile.TemporaryDirectory() as folder:
        phases = run(read_bundle(arguments.bundle), Path(folder), steady_s=arguments.seconds)
    table = Table(title=f"{REPLICAS} replicas behind HAProxy, {CLIENTS} clients; {description()}", title_justify="left")
    for heading in ("phase", "s", "requests", "lost", "refused", "wrong", "p50 ms", "p99 ms"):
        table.add_column(heading, justify="right")
    for one in phases:
        counts = (f"{count:,}" for count in (one.requests, one.lost, one.refused, one.wrong))
        table.add_row(one.name, f"{one.seconds:.1f}", *counts, f"{one.p50_ms:.1f}", f"{one.p99_ms:.1f}")
    Console(width=140).print(table)
    totals = {kind: sum(getattr(one, kind) for one in phases) for kind in ("requests", "lost", "refused", "wrong")}
    print(json.dumps(totals))


if __name__ == "__main__":
    main()
