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
import copy
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

from benchmarks.running import running_redis, running_service
from rqrec.models.bundle.bundle import read_bundle

TOKEN = "fuzz"  # noqa: S105 - of a service that listens to this process only
CONNECTIONS = 16
SERVER_ERROR, GATEWAY_TIMEOUT = 500, 504
LARGE_EVERY, LARGE_BODIES = 300, 40  # of so many bodies one is as large as may be; of so many kinds
SLOWEST_S, LARGEST_ERROR = 1.0, 64 << 10
FAULTS = ("server_errors", "slow", "large", "broken")
DEPTH = 5  # to which values are replaced
ODD: tuple[Any, ...] = (
    *(None, True, -1, 0, 2**63, -(2**64), 10**300, 1e308, float("nan"), float("inf"), -0.0, 0.1),
    *("", "\0", "a" * 10_000, "ü€😀", "\ud800", "NaN", "1", "../../etc/passwd", "'; DROP TABLE items; --", "{{7*7}}"),
    *([], {}, [None], [[]], {"": ""}, {"$ref": "#"}, list(range(2000))),
)
ODD_TEXTS = (*map(json.dumps, ODD), "[" * 400 + "]" * 400)


def valid_requests(item_ids: list[str], payload: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    """Method, path and body of requests that the service understands."""
    name = next(iter(payload), "title")
    return [
        ("POST", "/recommend", {"history": item_ids[:5], "k": 5}),
        ("POST", "/recommend", {"history": item_ids[:2], "k": 3, "exclude": item_ids[2:4], "exclude_history": False}),
        (
            "POST",
            "/recommend",
            {"history": [], "filter": {name: {"any_of": ["x", 1, None]}, "item_id": {"none_of": ["1"]}}},
        ),
        ("POST", "/recommend", {"history": item_ids[:1], "filter": {name: {"gte": 1, "lte": 2}}, "beam_width": 20}),
        (
            "POST",
            "/recommend",
            {"history": item_ids[:1], "new_item_share": 0.5, "timeout_ms": 1000, "routing_key": "u"},
        ),
        ("PUT", "/items/fuzz", {"attributes": payload}),
        ("PUT", "/items/fuzz", {"attributes": {}, "text_vector": [0.5, -1e3, 0.0]}),
        ("POST", "/models/none/activate", {"part": "canary", "percent": 5}),
    ]


def large(rng: random.Random, *, max_bytes: int = 1 << 20) -> bytes:
    """A body of about the largest size, full of faults of one kind."""
    one = rng.choice(("0", '""', "[]", "{}", "null", "true", "1e400", '"x"', "[[]]", '"\\ud800"', "9" * 400))
    count = rng.choice((1000, 10_000, max_bytes)) // (len(one) + 1)
    values = ",".join([one] * max(count, 1))
    names = ",".join(f'"a{number}":{one}' for number in range(max(max_bytes // (len(one) + 12), 1)))
    conditions = ",".join(f'"a{number}":{{"any_of":[{",".join([one] * 9999)}]}}' for number in range(20))
    body = rng.choice(
        (
            f'{{"history":[{values}]}}',
            f'{{"history":[],"exclude":[{values}]}}',
            f'{{"history":[],{names}}}',
            f'{{"history":[],"filter":{{{names}}}}}',
            f'{{"history":[],"filter":{{{conditions}}}}}',
            f'{{"history":[],"filter":{{"item_id":{{"none_of":[{values}]}}}}}}',
            f'{{"history":[],"filter":{{"item_id":{{{names}}}}}}}',
            f'{{"attributes":{{{names}}}}}',
            f'{{"text_vector":[{values}]}}',
            "[" * max_bytes,
            '{"history":' * (max_bytes // 11),
            f'{{"{"k" * (max_bytes - 20)}":1}}',
        )
    )
    return body[:max_bytes].encode("utf-8", "surrogatepass")


def malformed(body: dict[str, Any], rng: random.Random) -> bytes:
    """A body to which something was done."""
    if rng.random() < 0.5:
        changed = copy.deepcopy(body)
        for _ in range(rng.choice((1, 1, 2, 5))):
            _change(changed, rng)
        return json.dumps(changed, ensure_ascii=rng.random() < 0.5).encode("utf-8", "surrogatepass")
    text = bytearray(json.dumps(body).encode())
    for _ in range(rng.choice((1, 1, 2, 8))):
        place = rng.randrange(len(text) + 1)
        kind = rng.randrange(5)
        if kind == 0 and place < len(text):
            text[place] = rng.randrange(256)
        elif kind == 1:
            del text[place : place + rng.randrange(1, 20)]
        elif kind == 2:
            text[place:place] = text[place : place + rng.randrange(1, 50)]
        elif kind == 3:
            text[place:place] = rng.randbytes(rng.randrange(1, 8))
        else:
            text[place:place] = rng.choice(
                (b"{", b"}", b"[", b"]", b'"', b",", b":", b"\\u", b"\\ud800", b"1e999", b"-")
            )
    return bytes(text)


def _change(body: dict[str, Any], rng: random.Random) -> None:
    places = list(_places(body))
    if not places:
        return
    holder, key = rng.choice(places)
    kind = rng.randrange(4)
    if kind == 0 and isinstance(holder, dict):
        holder[rng.choice(("x", "", "__proto__", "k", "history"))] = json.loads(rng.choice(ODD_TEXTS))
    elif kind == 1:
        del holder[key]
    else:
        holder[key] = json.loads(rng.choice(ODD_TEXTS))


def _places(value: Any, depth: int = DEPTH) -> Iterator[tuple[Any, Any]]:
    pairs = list(value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ())
    for key, inner in pairs[:50]:
        yield value, key
        if depth > 1:
            yield from _places(inner, depth - 1)


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
