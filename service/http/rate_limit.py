"""Middleware that bounds how often one client may ask, counted in Redis for all replicas together."""

import asyncio
import hashlib
import math
import time
from collections.abc import Awaitable
from typing import Any

from cachetools import TTLCache
from limits import WindowStats, parse
from limits.aio.storage import MemoryStorage, RedisStorage, Storage
from limits.aio.storage.redis.redispy import RedispyBridge
from limits.aio.strategies import SlidingWindowCounterRateLimiter
from starlette.types import ASGIApp, Receive, Scope, Send

from rqrec.service.admission.admission import ADMIN
from rqrec.service.admission.request_context import context_of
from rqrec.service.errors import RateLimited
from rqrec.service.http.problems import problem_response
from rqrec.service.redis.client import RedisGate, RedisUnavailable
from rqrec.service.settings import Settings
from rqrec.service.telemetry import Metrics

KEY_PREFIX = "rqrec:rate"
REDIS_WAIT_S = 0.01
MAX_COUNTING = 8  # calls of Redis at the same time
REMEMBERED_CLIENTS = 10_000


class RateLimitMiddleware:
    """Answers 429 to a client that asks more often than it may; probes and the admin are free. Pure ASGI.

    A request waits for Redis a few milliseconds at most: where Redis is slower, it passes, and what Redis says then
    holds for the client's next requests. While Redis is away nobody is refused.

    Args:
        app: The app.
        settings: The rate.
        gate: Redis; None to count in process, each replica for itself.
        metrics: Told of whom it refuses.
    """

    def __init__(self, app: ASGIApp, settings: Settings, gate: RedisGate | None, metrics: Metrics) -> None:
        assert settings.rate_limit is not None
        self.app = app
        self._rate = parse(settings.rate_limit)
        self._gate = gate
        self._metrics = metrics
        storage: Storage = MemoryStorage() if gate is None else _SharedStorage(gate.client)
        self._limiter = SlidingWindowCounterRateLimiter(storage)
        self._counting: set[asyncio.Task[bool]] = set()
        self._refused_until: TTLCache[str, float] = TTLCache(REMEMBERED_CLIENTS, self._rate.get_expiry(), time.time)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes the request on unless its client has had its share."""
        client = context_of(scope).client if scope["type"] == "http" else ADMIN
        if client == ADMIN:
            await self.app(scope, receive, send)
            return
        client = hashlib.blake2b(client.encode(), digest_size=16).hexdigest()  # a key may be a secret
        if await self._may(client):
            await self.app(scope, receive, send)
            return
        self._metrics.shed.labels("rate").inc()
        error = RateLimited(
            f"a client may ask {self._rate}: wait for Retry-After", retry_after_s=await self._wait_s(client)
        )
        await problem_response(error, scope["path"])(scope, receive, send)

    async def _may(self, client: str) -> bool:
        if self._refused_until.get(client, 0) > time.time():
            return False
        if self._gate is None:
            return await self._limiter.hit(self._rate, client)
        if len(self._counting) >= MAX_COUNTING:
            return True
        counting = asyncio.create_task(self._count(self._gate, client))
        self._counting.add(counting)
        counting.add_done_callback(self._counting.discard)
        done, _ = await asyncio.wait({counting}, timeout=REDIS_WAIT_S)
        return counting.result() if done else True

    async def _count(self, gate: RedisGate, client: str) -> bool:
        begin = time.monotonic()
        try:
            may = await gate.call(self._limiter.hit, self._rate, client)
        except RedisUnavailable:
            return True
        if not may and time.monotonic() - begin > REDIS_WAIT_S:  # its request has passed; the next ones shall not
            self._refused_until[client] = time.time() + await self._wait_s(client)
        return bool(may)

    async def _wait_s(self, client: str) -> int:
        now = time.time()
        if (until := self._refused_until.get(client, 0)) > now:
            return math.ceil(until - now)
        stats: Awaitable[WindowStats]
        if self._gate is None:
            stats = self._limiter.get_window_stats(self._rate, client)
        else:
            stats = self._gate.call(self._limiter.get_window_stats, self._rate, client)
        try:
            return max(1, math.ceil((await stats).reset_time - now))
        except RedisUnavailable:
            return 1


class _SharedStorage(RedisStorage):
    """Counts over a client that is there already, be it of one server or of a cluster."""

    def __init__(self, client: Any) -> None:  # a Redis, which `limits` types otherwise
        self._client = client
        super().__init__("async+redis://", implementation="redispy", key_prefix=KEY_PREFIX)

    def configure_bridge(self) -> None:
        assert isinstance(self.bridge, RedispyBridge)
        self.bridge.connection_getter = lambda _readonly: self._client
