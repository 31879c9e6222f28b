"""Injects many faults at once into a running service, and checks every answer.

    python -m benchmarks.chaos --bundle artifacts/ml-100k/bundles --seconds 300

Starts the service as in the README, with two models and a Redis that keeps its data as in docker-compose.yml. Clients
ask for recommendations, and write and delete items. At the same time Redis is killed and restarted, Redis loses keys
or finds foreign content in them, Redis is paused or killed while they are restored, the other model is activated,
bursts overload the queue, and malformed bodies arrive. Every list is checked against the catalogue of the model
version that it names, and against the changes confirmed before. At the end every confirmed change must exist. The last
line printed is JSON: requests sent, answered and shed (429, 503, 504), wrong answers, and lost requests or confirmed
changes. The last two must be 0.
"""

import argparse
import asyncio
import json
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import httpx
from rich.progress import track

from benchmarks.support.answer_check import SETTLED_S, AnswerCheck, Written
from benchmarks.support.redis_damage import KEYS, damage_key
from benchmarks.support.request_bodies import malformed, valid_requests
from benchmarks.support.running import RedisServer, running_redis, running_service
from benchmarks.support.two_models import two_models
from rqrec.models.bundle.bundle import Bundle, read_bundle
from rqrec.models.items.item_tokenizer import ItemTokenizer

TOKEN = "chaos"  # noqa: S105 - of a service that listens to this process only
CLIENTS, WRITERS, ITEMS_A_WRITER = 6, 2, 5
BURST = 400
SHED = (429, 503, 504)
REDIS_EVERY_S, DAMAGE_EVERY_S, MODEL_EVERY_S, BURST_EVERY_S = 8.0, 3.0, 12.0, 10.0
REDIS_PAUSED_MS = 1000
REDIS_AWAY_S = (0.1, 3.0)
UNCONFIRMED_S = 60.0  # Redis is never down for so long here
PAUSE_S = 0.02  # between two requests of a client
K = 10


class Chaos:
    """The clients and the faults, with counts of what happened.

    Args:
        url: The service's address.
        bundles: The models by version.
        redis: The Redis server to kill.
        seconds: Duration in seconds.
        seed: Seed of all random choices.
    """

    def __init__(self, url: str, bundles: dict[str, Bundle], redis: RedisServer, *, seconds: float, seed: int) -> None:
        self.counts: Counter[str] = Counter(dict.fromkeys(("sent", "answered", "shed", "wrong", "lost"), 0))
        self.events: Counter[str] = Counter()
        self.faults: list[str] = []
        self._redis = redis
        self._redis_is_taken, self._model_is_taken = asyncio.Lock(), asyncio.Lock()
        self._rng = random.Random(seed)
        self._end = time.monotonic() + seconds
        self._versions = list(bundles)
        self._check = AnswerCheck(bundles)
        self._written = self._check.written
        first = next(iter(bundles.values()))
        self._ids = first.items["item_id"].to_list()
        self._like = self._check.attributes_like(first)
        self._text = next(name for name, value in self._like.items() if isinstance(value, str))
        self._text_width = ItemTokenizer(first).text_width
        self._garbage = valid_requests(self._ids[:5], self._like)
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=CLIENTS * 4)
        headers = {"authorization": f"Bearer {TOKEN}"}
        self._client = httpx.AsyncClient(base_url=url, headers=headers, limits=limits, timeout=60)

    def believe_written(self, item_id: str, payload: dict[str, Any]) -> None:
        """Treats an item as written and confirmed.

        Args:
            item_id: The item.
            payload: Its attributes.
        """
        self._written[item_id] = Written(payload, time.monotonic(), {json.dumps(payload)})

    async def run(self) -> None:
        """Runs all clients and faults, then checks the confirmed changes."""
        async with self._client:
            await asyncio.gather(
                *(self._until_the_end(self._recommend, PAUSE_S) for _ in range(CLIENTS)),
                *(self._until_the_end(partial(self._write, writer), PAUSE_S) for writer in range(WRITERS)),
                self._until_the_end(self._send_garbage, PAUSE_S),
                self._until_the_end(self._restart_redis, REDIS_EVERY_S),
                self._until_the_end(self._damage_redis, DAMAGE_EVERY_S),
                self._until_the_end(self._change_model, MODEL_EVERY_S),
                self._until_the_end(self._burst, BURST_EVERY_S),
                self._show(),
            )
            await self._check_what_was_written()

    async def _until_the_end(self, work: Callable[[], Awaitable[None]], pause_s: float) -> None:
        while time.monotonic() < self._end:
            await asyncio.sleep(pause_s * self._rng.uniform(0.5, 1.5))
            await work()

    async def _show(self) -> None:
        begin = time.monotonic()
        for second in track(range(round(self._end - begin)), description="chaos"):
            await asyncio.sleep(max(begin + second + 1 - time.monotonic(), 0))

    async def _ask(self, method: str, path: str, **content: Any) -> httpx.Response | None:
        """Sends a request. Returns the answer, or None if the request was shed or lost."""
        self.counts["sent"] += 1
        try:
            response = await self._client.request(method, path, **content)
        except httpx.TransportError as error:
            self._fault("lost", f"{method} {path}: {error!r}")
            return None
        if response.status_code in SHED:
            self.counts["shed"] += 1
            if response.status_code == httpx.codes.TOO_MANY_REQUESTS and "retry-after" not in response.headers:
                self._fault("wrong", f"{method} {path}: 429 without Retry-After")
            return None
        self.counts["answered"] += 1
        if response.status_code >= httpx.codes.INTERNAL_SERVER_ERROR:
            self._fault("wrong", f"{method} {path}: {response.status_code} {response.text}")
        return response

    async def _ask_until_confirmed(self, method: str, path: str, **content: Any) -> httpx.Response:
        """Repeats a request until it is answered. While Redis is unavailable, the service sheds writes."""
        async with asyncio.timeout(UNCONFIRMED_S):
            while (response := await self._ask(method, path, **content)) is None:
                await asyncio.sleep(0.2)
        return response

    def _fault(self, kind: str, text: str) -> None:
        self.counts[kind] += 1
        self.faults.append(f"{kind}: {text}")

    async def _recommend(self, k: int = K, beam_width: int = 20) -> None:
        pool = self._ids if self._rng.random() < 0.8 or not self._written else list(self._written)
        history = [self._rng.choice(pool) for _ in range(self._rng.randrange(1, 20))]
        share = self._rng.choice((0.0, 0.0, 0.5))
        body = {"history": history, "k": k, "beam_width": beam_width, "new_item_share": share}
        begin = time.monotonic()
        response = await self._ask("POST", "/recommend", json=body)
        if response is not None and (fault := self._check.fault_of(response, history, k, begin)):
            self._fault("wrong", f"{fault}; {body} was answered {response.text[:2000]}")

    async def _write(self, writer: int) -> None:
        item_id = f"chaos-{writer}-{self._rng.randrange(ITEMS_A_WRITER)}"
        written = self._written.setdefault(item_id, Written())
        payload, content = None, {}
        if written.payload is None or self._rng.random() < 0.7:
            payload = {**self._like, self._text: f"{item_id}, {self._rng.random()}"}
            vector = [self._rng.gauss(0, 1) for _ in range(self._text_width)]
            content = {"json": {"attributes": payload} | ({"text_vector": vector} if vector else {})}
            written.sent.add(json.dumps(payload))
        written.is_uncertain = True
        response = await self._ask_until_confirmed(
            "DELETE" if payload is None else "PUT", f"/items/{item_id}", **content
        )
        gone_before = payload is None and response.status_code == httpx.codes.NOT_FOUND
        if not (response.is_success or gone_before):
            self._fault("wrong", f"writing {item_id}: {response.status_code} {response.text}")
        written.payload, written.since, written.is_uncertain = payload, time.monotonic(), False
        self.events["items written"] += 1

    async def _send_garbage(self) -> None:
        method, path, body = self._rng.choice(self._garbage[:-1])
        # Some malformed bodies are valid items. Another path keeps them out of the catalogue.
        path = path.replace("/items/fuzz", "/items/fuzz/semantic-id")
        await self._ask(method, path, content=malformed(body, self._rng))
        self.events["malformed bodies"] += 1

    async def _restart_redis(self) -> None:
        async with self._redis_is_taken:
            await asyncio.to_thread(self._redis.stop)
            await asyncio.sleep(self._rng.uniform(*REDIS_AWAY_S))
            await asyncio.to_thread(self._redis.start)
        self.events["restarts of Redis"] += 1

    async def _damage_redis(self) -> None:
        """Damages some keys of the active model, and injects a second fault while they are restored."""
        async with self._redis_is_taken, self._model_is_taken:
            response = await self._ask("GET", "/readyz")
            if response is None or not response.is_success:
                return
            prefix = f"rqrec:{{{response.json()['model_version']}}}"
            for name in self._rng.sample(KEYS, self._rng.randrange(1, len(KEYS))):
                key, kind = f"{prefix}:{name}", self._rng.randrange(3)
                self.events.update(await asyncio.to_thread(damage_key, self._redis.client, key, kind, self._rng))
            await asyncio.sleep(self._rng.uniform(0, 0.3))
            second_fault = self._rng.randrange(3)
            if second_fault == 1:
                await asyncio.to_thread(self._redis.client.client_pause, REDIS_PAUSED_MS)
            elif second_fault == 2:
                await asyncio.to_thread(self._redis.stop)
                await asyncio.to_thread(self._redis.start)
            await self._until_put_back()

    async def _until_put_back(self) -> None:
        """Waits until the replica has all changes. Until then, only the replica knows what Redis has lost."""
        give_up = time.monotonic() + SETTLED_S
        await asyncio.sleep(1.0)
        while time.monotonic() < give_up:
            response = await self._ask("GET", "/metrics")
            if response is not None and "rqrec_catalogue_current 1.0" in response.text:
                return
            await asyncio.sleep(0.1)
        self._fault("wrong", f"Redis must be restored within {SETTLED_S:.0f} s, but it is not")

    async def _change_model(self) -> None:
        version = self._versions[self.events["models tried"] % 2 - 1]
        self.events["models tried"] += 1
        async with self._model_is_taken:
            response = await self._ask_until_confirmed("POST", f"/models/{version}/activate")
        if response.is_success:
            self.events["models changed"] += 1
        else:
            self._fault("wrong", f"activate {version}: {response.status_code} {response.text}")

    async def _burst(self) -> None:
        before = self.counts["shed"]
        await asyncio.gather(*(self._recommend(100, 100) for _ in range(BURST)))
        self.events["bursts"] += 1
        self.events["bursts that were shed in part"] += self.counts["shed"] > before

    async def _check_what_was_written(self) -> None:
        give_up = time.monotonic() + SETTLED_S
        while True:
            lost = [item_id for item_id, written in self._written.items() if not await self._is_there(item_id, written)]
            if not lost or time.monotonic() > give_up:
                break
            await asyncio.sleep(0.2)
        for item_id in lost:
            self._fault("lost", f"the last confirmed change of {item_id}: {self._written[item_id].payload}")

    async def _is_there(self, item_id: str, written: Written) -> bool:
        response = await self._ask("GET", f"/items/{item_id}")
        if response is None:
            return False
        is_found = response.status_code == httpx.codes.OK
        return (response.json()["payload"] if is_found else None) == written.payload


def run(bundle: Path, *, seconds: float, seed: int, log: Path | None = None) -> Chaos:
    """Starts the service and its Redis, and injects faults.

    Args:
        bundle: A bundle, or a folder of bundles.
        seconds: Duration in seconds.
        seed: Seed of all random choices.
        log: The file of the service's output; None for no file.
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
            }
            with running_service(settings, log=log) as (url, _):
                chaos = Chaos(url, bundles, redis, seconds=seconds, seed=seed)
                asyncio.run(chaos.run())
    return chaos


def main() -> None:
    """Runs and prints the counts. Exits with status 1 if an answer was wrong or something was lost."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, required=True, help="a bundle, or a folder of bundles")
    parser.add_argument("--seconds", type=float, default=300, help="how long (default 300)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--log", type=Path, help="where the service's log goes (default: nowhere)")
    arguments = parser.parse_args()
    chaos = run(arguments.bundle, seconds=arguments.seconds, seed=arguments.seed, log=arguments.log)
    for fault in chaos.faults[:10]:
        print(fault)
    print(json.dumps(chaos.events))
    print(json.dumps(chaos.counts))
    sys.exit(chaos.counts["wrong"] + chaos.counts["lost"] > 0)


if __name__ == "__main__":
    main()
