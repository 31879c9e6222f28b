"""Sends malformed bodies to a running service, and searches for answers that are a fault of the service.

    python -m benchmarks.hostile.fuzz --bundle artifacts/ml-100k/bundles --bodies 100000

Starts the service as in the README, with a Redis and an admin token, and sends changed valid bodies: bytes are flipped,
removed, repeated or inserted, values of the JSON are replaced by unusual ones, and keys are added or removed. A few
bodies have the largest size and as many mistakes as possible. Each body must be answered within a second, never with
500, and an error in less than 64 KiB. 504 is correct if the body asks for a very short time. The last line printed is
JSON: answers by status, and the numbers of server errors, slow answers, large answers and broken connections, which
must be 0.
"""

import argparse
import asyncio
import json
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from rich.progress import track

from benchmarks.support.request_bodies import large, malformed, valid_requests
from benchmarks.support.running import running_redis, running_service
from rqrec.models.bundle.bundle import read_bundle

TOKEN = "fuzz"  # noqa: S105 - of a service that listens to this process only
CONNECTIONS = 16
SERVER_ERROR, GATEWAY_TIMEOUT = 500, 504
LARGE_EVERY, LARGE_BODIES = 300, 40  # one of 300 bodies has the largest size; there are 40 of this size
SLOWEST_S, LARGEST_ERROR = 1.0, 64 << 10
SAMPLES = 5
FAULTS = ("server_errors", "slow", "large", "broken")


@dataclass
class _Findings:
    """Answers by status, faults by kind, and a sample of the bodies with a faulty answer."""

    statuses: Counter[int] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    samples: list[dict[str, str]] = field(default_factory=list)


async def fuzz(
    url: str,
    requests: list[tuple[str, str, dict[str, Any]]],
    *,
    token: str,
    bodies: int,
    seed: int,
    slowest_s: float = SLOWEST_S,
) -> dict[str, Any]:
    """Sends malformed bodies to a service.

    Args:
        url: The service's address.
        requests: Method, path and body of valid requests; see `valid_requests`.
        token: The service's admin token.
        bodies: Number of bodies to send.
        seed: Seed of all random choices.
        slowest_s: An answer that takes longer is a fault, in seconds.

    Returns:
        Number of bodies, answers by status, the number of faults of each kind, and under `samples` the first bodies
        with a faulty answer.
    """
    rng, found = random.Random(seed), _Findings()
    large_bodies = [large(rng) for _ in range(LARGE_BODIES)]  # made first, because making one delays every answer
    numbers = iter(track(range(bodies), description="fuzzing"))
    headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}
    limits = httpx.Limits(max_connections=CONNECTIONS)

    async def connection(client: httpx.AsyncClient) -> None:
        for number in numbers:
            method, path, body = rng.choice(requests)
            content = rng.choice(large_bodies) if number % LARGE_EVERY == LARGE_EVERY - 1 else malformed(body, rng)
            await _send(client, method, path, content, found, slowest_s)

    async with httpx.AsyncClient(base_url=url, headers=headers, limits=limits, timeout=30) as client:
        await asyncio.gather(*(connection(client) for _ in range(CONNECTIONS)))
        (await client.get("/readyz")).raise_for_status()
    by_status = {str(status): count for status, count in sorted(found.statuses.items())}
    faults = {name: found.faults[name] for name in FAULTS}
    return {"bodies": bodies, "statuses": by_status, **faults, "samples": found.samples[:SAMPLES]}


async def _send(
    client: httpx.AsyncClient, method: str, path: str, content: bytes, found: _Findings, slowest_s: float
) -> None:
    begin = time.monotonic()
    try:
        response = await client.request(method, path, content=content)
    except httpx.TransportError as error:
        faults, answer = {"broken"}, repr(error)
    else:
        found.statuses[response.status_code] += 1
        faults, answer = set(_faults(response, is_slow=time.monotonic() - begin > slowest_s)), response.text[:1000]
    found.faults.update(faults)
    if faults:
        found.samples.append({"request": f"{method} {path}", "body": repr(content[:1000]), "answer": answer})


def _faults(response: httpx.Response, *, is_slow: bool) -> Iterator[str]:
    if response.status_code >= SERVER_ERROR and response.status_code != GATEWAY_TIMEOUT:
        yield "server_errors"
    if is_slow:
        yield "slow"
    if response.is_error and len(response.content) > LARGEST_ERROR:
        yield "large"


def main() -> None:
    """Runs and prints the result. Exits with status 1 if an answer was a fault of the service."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, required=True, help="a bundle, or a folder of bundles")
    parser.add_argument("--bodies", type=int, default=100_000, help="how many to send (default 100,000)")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    items = read_bundle(arguments.bundle).items
    payload = items.drop("item_id").row(0, named=True)
    requests = valid_requests(items["item_id"].head(5).to_list(), payload)
    with tempfile.TemporaryDirectory() as folder, running_redis(Path(folder)) as redis:
        settings = {"RQREC_BUNDLE": str(arguments.bundle), "RQREC_REDIS_URL": redis.url, "RQREC_ADMIN_TOKEN": TOKEN}
        with running_service(settings) as (url, _):
            result = asyncio.run(fuzz(url, requests, token=TOKEN, bodies=arguments.bodies, seed=arguments.seed))
    for sample in result.pop("samples"):
        print(sample)
    print(json.dumps(result))
    sys.exit(any(result[name] for name in FAULTS))


if __name__ == "__main__":
    main()
