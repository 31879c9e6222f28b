"""Kills and pauses Redis, damages its keys, and changes the model."""

import asyncio
import random
import time

from benchmarks.chaos.caller import Caller
from benchmarks.chaos.trial_account import TrialAccount, counted_of
from benchmarks.support.answer_check import SETTLED_S
from benchmarks.support.redis_damage import KEYS, damage_key
from benchmarks.support.running import RedisServer
from rqrec.service.events.redis_keys import history_key, shown_key

REDIS_PAUSED_MS = 1000
REDIS_AWAY_S = (0.1, 3.0)
COUNTED_S = 20.0  # by then, buffered impressions are written, although Redis is restarted meanwhile


class Faults:
    """What goes wrong around the service.

    Args:
        caller: Sends requests.
        redis: The Redis server.
        versions: The models.
        account: The account of the lists that count.
        rng: Source of random choices.
    """

    def __init__(
        self, caller: Caller, redis: RedisServer, versions: list[str], account: TrialAccount, rng: random.Random
    ) -> None:
        self._caller = caller
        self._redis = redis
        self._versions = versions
        self._account = account
        self._rng = rng
        self._redis_is_taken, self._model_is_taken = asyncio.Lock(), asyncio.Lock()

    async def restart_redis(self) -> None:
        """Kills Redis and starts it again after a while."""
        async with self._redis_is_taken:
            await asyncio.to_thread(self._redis.stop)
            await asyncio.sleep(self._rng.uniform(*REDIS_AWAY_S))
            await asyncio.to_thread(self._redis.start)
        self._caller.events["restarts of Redis"] += 1

    async def damage_redis(self) -> None:
        """Damages some keys of the active model, and injects a second fault while they are restored."""
        async with self._redis_is_taken, self._model_is_taken:
            response = await self._caller.ask("GET", "/readyz")
            if response is None or not response.is_success:
                return
            prefix = f"rqrec:{{{response.json()['model_version']}}}"
            for name in self._rng.sample(KEYS, self._rng.randrange(1, len(KEYS))):
                key, kind = f"{prefix}:{name}", self._rng.randrange(3)
                self._caller.events.update(
                    await asyncio.to_thread(damage_key, self._redis.client, key, kind, self._rng)
                )
            await asyncio.sleep(self._rng.uniform(0, 0.3))
            second_fault = self._rng.randrange(3)
            if second_fault == 1:
                await asyncio.to_thread(self._redis.client.client_pause, REDIS_PAUSED_MS)
            elif second_fault == 2:
                await asyncio.to_thread(self._redis.stop)
                await asyncio.to_thread(self._redis.start)
            await self._until_put_back()

    async def damage_a_user(self) -> None:
        """Puts texts in the places of a user's history and lists. Lists must still come, and count for all others."""
        user_id = f"damaged-{self._caller.events['damaged users']}"
        event = {"user_id": user_id, "item_id": "1", "type": "view"}
        await self._caller.ask_until_answered("POST", "/events", json={"events": [event]})
        async with self._redis_is_taken:
            for key in (history_key(user_id), shown_key(user_id)):
                await asyncio.to_thread(self._redis.client.delete, key)
                await asyncio.to_thread(self._redis.client.set, key, "a text")
            for _ in range(3):
                with self._account.asking() as asked:
                    response = await self._caller.ask(
                        "POST", "/recommend", json={"user_id": user_id, "k": 5}, needs_store=False
                    )
                    if response is None:
                        continue
                    reply = response.json()
                    asked.uncertain(reply["recommendation_id"])
                if reply["history_source"] not in ("memory", "none"):
                    self._caller.fault("wrong", f"a list from a damaged history: {response.text[:1000]}")
        self._caller.events["damaged users"] += 1

    async def _until_put_back(self) -> None:
        """Waits until the replica has all changes. Until then, only the replica knows what Redis has lost."""
        give_up = time.monotonic() + SETTLED_S
        await asyncio.sleep(1.0)
        while time.monotonic() < give_up:
            response = await self._caller.ask("GET", "/metrics")
            if response is not None and "rqrec_catalogue_current 1.0" in response.text:
                return
            await asyncio.sleep(0.1)
        self._caller.fault("wrong", f"Redis must be restored within {SETTLED_S:.0f} s, but it is not")

    async def change_model(self) -> None:
        """Checks the counts of the present trial, then activates the other model, with which the next trial begins."""
        await self.check_counts()
        tried = self._caller.events["models tried"]
        version = self._versions[(tried + 1) % len(self._versions)]
        self._caller.events["models tried"] += 1
        async with self._model_is_taken:
            with self._account.changing():
                response = await self._caller.ask_until_answered("POST", f"/models/{version}/activate")
        if response.is_success:
            self._caller.events["models changed"] += 1
        else:
            self._caller.fault("wrong", f"activate {version}: {response.status_code} {response.text}")

    async def check_counts(self) -> None:
        """Checks that the service counts each impression and outcome of the present trial once."""
        least, give_up, counted = self._account.least(), time.monotonic() + COUNTED_S, None
        while time.monotonic() < give_up:
            response = await self._caller.ask("GET", "/models")
            models = [] if response is None else response.json()["models"]
            for outcomes in (one["outcomes"] for one in models if one["part"] == "active" and one["outcomes"]):
                counted, most = counted_of(outcomes), self._account.most()
                if counted.exceeds(most):
                    self._caller.fault("wrong", f"counted twice: at most {most}, found {counted}")
                    return
                if not least.exceeds(counted):
                    self._caller.events["trials whose counts are right"] += 1
                    self._caller.events["impressions counted"] += counted.impressions
                    self._caller.events["clicks counted"] += counted.clicks
                    return
            await asyncio.sleep(0.2)
        self._caller.fault("lost", f"must have counted {least} after {COUNTED_S:.0f} s, found {counted}")
