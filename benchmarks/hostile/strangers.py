"""Opens hostile connections to a running service, and measures what they cost the other clients.

    python -m benchmarks.hostile.strangers --bundle artifacts/ml-100k/bundles --seconds 60

Starts the service as in the README. Many addresses of this machine open connections that send upgrades, trailers, half
requests or nothing, pipeline requests without reading answers, send single bytes, or send endless heads and bodies. One
client floods the service with wide searches and expensive filters. Meanwhile a health probe and a modest client send
ordinary requests. The last line printed is JSON: the number of connections; the number of wrong answers, which nobody
asked for or whose status does not fit; the slowest answers to the modest client and to the probe; and the growth of
memory. The program exits with status 1 if an answer was wrong or a limit below was exceeded.
"""

import argparse
import asyncio
import contextlib
import json
import random
import re
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from rich.console import Console

from benchmarks.support.hostile_connections import ACTS, Act
from benchmarks.support.machine import resident_mib
from benchmarks.support.running import running_service
from rqrec.models.bundle.bundle import read_bundle

STRANGERS, GREEDY, GREEDY_BODIES = 48, 60, 90
ASK_EVERY_S = 0.05
SLOWEST_PROBE_S, SLOWEST_ANSWER_S, GROWN_MIB = 1.0, 2.0, 200.0
STATUS = re.compile(rb"HTTP/1\.1 (\d{3}) ")
# The statuses that a connection may get: client errors, timeouts, overload, and 200 for a valid request.
FITTING = {200, 400, 404, 408, 413, 422, 429, 431, 503, 504}


@dataclass
class Seen:
    """What the strangers did, and the answers they got."""

    kinds: Counter[str] = field(default_factory=Counter)
    statuses: Counter[int] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)


class Strangers:
    """The strangers and the flooding client.

    Args:
        url: The service's address.
        item_ids: Some known item_ids.
        seconds: Duration in seconds.
        seed: Seed of all random choices.
    """

    def __init__(self, url: str, item_ids: list[str], *, seconds: float, seed: int) -> None:
        self.seen = Seen()
        self._url = httpx.URL(url)
        self._item_ids = item_ids
        self._end = time.monotonic() + seconds
        self._rng = random.Random(seed)
        self._greedy_bodies = [self._greedy_body(number) for number in range(GREEDY_BODIES)]

    def _greedy_body(self, number: int) -> bytes:
        body: dict[str, object] = {"history": self._item_ids[:3], "k": 50, "beam_width": 500}
        if number % 3 == 0:
            values = [str(self._rng.random()) for _ in range(5000)]
            body |= {"filter": {"item_id": {"none_of": values}}, "timeout_ms": self._rng.choice((1, 50, 5000))}
        return json.dumps(body).encode()

    async def run(self) -> None:
        """Runs all clients at once."""
        async with asyncio.TaskGroup() as group:
            for number in range(STRANGERS):
                group.create_task(self._stranger(f"127.0.1.{1 + number % 12}"))
            for _ in range(GREEDY):
                group.create_task(self._greedy())

    def _is_over(self) -> bool:
        return time.monotonic() > self._end

    async def _stranger(self, address: str) -> None:
        body = json.dumps({"history": self._item_ids[:3], "k": 3}).encode()
        while not self._is_over():
            kind = self._rng.choice(list(ACTS))
            act = ACTS[kind](self._rng, body)
            answers = b""
            with contextlib.suppress(OSError, TimeoutError):
                answers = await self._play(act, address)
            codes = [int(code) for code in STATUS.findall(answers)]
            self.seen.kinds[kind] += 1
            self.seen.statuses.update(codes)
            if len(codes) > act.requests + 1 or not set(codes) <= FITTING:
                self.seen.wrong.append(f"{kind}: {codes[:9]} after {act.parts[:1]!r}"[:400])

    async def _play(self, act: Act, address: str) -> bytes:
        answers = bytearray()
        async with asyncio.timeout(min(12.0, max(self._end - time.monotonic(), 0.1) + 1)):
            reader, writer = await asyncio.open_connection(
                self._url.host, self._url.port, local_addr=(address, 0), limit=65_536
            )
            try:
                for part in act.parts:
                    writer.write(part)
                    await writer.drain()
                    await asyncio.sleep(act.pause_s)
                while act.reads and (part := await reader.read(65_536)):
                    answers += part
                    if len(STATUS.findall(answers)) >= max(act.requests, 1) and self._rng.random() < 0.5:
                        break
            finally:
                writer.transport.abort()
        return bytes(answers)

    async def _greedy(self) -> None:
        transport = httpx.AsyncHTTPTransport(local_address="127.0.3.1")
        async with httpx.AsyncClient(base_url=self._url, transport=transport, timeout=30) as client:
            while not self._is_over():
                body = self._rng.choice(self._greedy_bodies)
                with contextlib.suppress(httpx.TransportError):
                    self.seen.statuses[(await client.post("/recommend", content=body)).status_code] += 1


def ask(method: str, url: str, body: object, address: str, seconds: float) -> tuple[list[float], list[str]]:
    """Sends one request again and again, in a process of its own, so that the strangers' load does not slow it down.

    Args:
        method: HTTP method.
        url: The URL to request.
        body: The JSON body, or None.
        address: The local address to send from.
        seconds: Duration in seconds.

    Returns:
        The seconds of each answer, and descriptions of the answers that were not 200.
    """
    took, wrong, end = list[float](), list[str](), time.monotonic() + seconds
    with httpx.Client(transport=httpx.HTTPTransport(local_address=address), timeout=30) as client:
        while time.monotonic() < end:
            begin = time.monotonic()
            response = client.request(method, url, json=body)
            took.append(time.monotonic() - begin)
            if response.status_code != httpx.codes.OK:
                wrong.append(f"{url} was answered {response.status_code} from {address}")
            time.sleep(ASK_EVERY_S)
    return took, wrong


def quantiles(seconds: list[float]) -> tuple[float, float]:
    """Returns the median and the largest value."""
    ordered = sorted(seconds) or [float("inf")]
    return ordered[len(ordered) // 2], ordered[-1]


def faults(summary: dict[str, float]) -> Iterator[str]:
    """Yields a description of each figure that exceeds its limit."""
    limits = {"wrong": 0, "slowest_probe_s": SLOWEST_PROBE_S, "slowest_answer_s": SLOWEST_ANSWER_S, "mib": GROWN_MIB}
    for name, limit in limits.items():
        if summary[name] > limit:
            yield f"{name} is {summary[name]}, expected at most {limit:g}"


def measure(bundle: Path, *, seconds: float, seed: int) -> tuple[dict[str, float], Seen]:
    """Runs everything.

    Args:
        bundle: A bundle, or a folder of bundles.
        seconds: Duration in seconds.
        seed: Seed of all random choices.

    Returns:
        The figures of the last line, and what the strangers saw.
    """
    item_ids = read_bundle(bundle).items["item_id"].head(5).to_list()
    with running_service({"RQREC_BUNDLE": str(bundle)}) as (url, process), ProcessPoolExecutor(2) as askers:
        before = resident_mib(process.pid)
        modest = {"history": item_ids[:3], "k": 5}
        asking = [
            askers.submit(ask, "GET", f"{url}/healthz", None, "127.0.2.1", seconds),
            askers.submit(ask, "POST", f"{url}/recommend", modest, "127.0.2.2", seconds),
        ]
        strangers = Strangers(url, item_ids, seconds=seconds, seed=seed)
        asyncio.run(strangers.run())
        (probes_s, wrong_probes), (answers_s, wrong_answers) = (one.result() for one in asking)
        grown = resident_mib(process.pid) - before
    seen = strangers.seen
    seen.wrong += wrong_probes + wrong_answers
    probe, slowest_probe = quantiles(probes_s)
    answer, slowest_answer = quantiles(answers_s)
    summary = {
        "connections": float(sum(seen.kinds.values())),
        "wrong": float(len(seen.wrong)),
        "median_probe_s": round(probe, 4),
        "slowest_probe_s": round(slowest_probe, 3),
        "median_answer_s": round(answer, 4),
        "slowest_answer_s": round(slowest_answer, 3),
        "mib": round(grown, 1),
    }
    return summary, seen


def main() -> None:
    """Runs and prints the figures. Exits with status 1 if a limit was exceeded."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, required=True, help="a bundle, or a folder of bundles")
    parser.add_argument("--seconds", type=float, default=60, help="how long (default 60)")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    summary, seen = measure(arguments.bundle, seconds=arguments.seconds, seed=arguments.seed)
    console = Console()
    console.print(dict(seen.kinds), dict(seen.statuses), seen.wrong[:5])
    wrong = list(faults(summary))
    for fault in wrong:
        console.print(fault)
    print(json.dumps(summary))
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
