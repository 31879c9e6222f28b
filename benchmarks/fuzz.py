"""Sends malformed bodies to a running service, and looks for an answer that is the service's own fault.

    python -m benchmarks.fuzz --bundle artifacts/ml-100k/bundles --bodies 100000

Starts the service as the README does, with a Redis of its own and an admin token, and sends bodies that were valid
before something was done to them: bytes flipped, cut out, doubled or put in, values of the JSON replaced by odd ones,
keys added or taken away; now and then as many faults as a body can hold. Each must be answered within a second, never
with 500, and an error in less than 64 KiB; 504 is right where the body asks for hardly any time.
The last line printed is JSON: answers by status, server errors, slow and large answers, and broken connections, which
have to be none.
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
LARGE_EVERY, LARGE_BODIES = 300, 40  # of so many bodies one is as large as may be; of so many kinds
SLOWEST_S, LARGEST_ERROR = 1.0, 64 << 10
FAULTS = ("server_errors", "slow", "large", "broken")


async def fuzz(
    url: str,
    requests: list[tuple[str, str, dict[str, Any]]],
    *,
    token: str,
    bodies: int,
    seed: int,
    slowest_s: float = SLOWEST_S,
) -> dict[str, Any]:
    """Sends the bodies.

    Returns:
        What the last line says, and under `samples` the first bodies that were answered wrongly.
    """
    rng = random.Random(seed)
    large_bodies = [large(rng) for _ in range(LARGE_BODIES)]  # beforehand: making one takes time from every answer
    statuses, counts, samples = Counter[int](), Counter[str](), list[dict[str, str]]()
    numbers = iter(track(range(bodies), description="fuzzing"))
    headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}
    limits = httpx.Limits(max_connections=CONNECTIONS)

    async def connection(client: httpx.AsyncClient) -> None:
        for number in numbers:
            method, path, body = rng.choice(requests)
            content = rng.choice(large_bodies) if number % LARGE_EVERY == LARGE_EVERY - 1 else malformed(body, rng)
            begin = time.monotonic()
            try:
                response = await client.request(method, path, content=content)
            except httpx.TransportError as error:
                found, answer = {"broken"}, repr(error)
            else:
                statuses[response.status_code] += 1
                found, answer = (
                    set(_faults(response, is_slow=time.monotonic() - begin > slowest_s)),
                    response.text[:1000],
                )
            counts.update(found)
            if found:
                samples.append({"request": f"{method} {path}", "body": repr(content[:1000]), "answer": answer})

    async with httpx.AsyncClient(base_url=url, headers=headers, limits=limits, timeout=30) as client:
        await asyncio.gather(*(connection(client) for _ in range(CONNECTIONS)))
        (await client.get("/readyz")).raise_for_status()
    by_status = {str(status): count for status, count in sorted(statuses.items())}
    return {
        "bodies": bodies,
        "statuses": by_status,
        **{name: counts[name] for name in FAULTS},
        "samples": samples[:5],
    }


def _faults(response: httpx.Response, *, is_slow: bool) -> Iterator[str]:
    if response.status_code >= SERVER_ERROR and response.status_code != GATEWAY_TIMEOUT:
        yield "server_errors"
    if is_slow:
        yield "slow"
    if response.is_error and len(response.content) > LARGEST_ERROR:
        yield "large"


def main() -> None:
    """Runs, prints, and exits 1 where there was a server error."""
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
