"""Middleware that limits the request rate of each client. Redis counts the requests to all replicas together."""

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
from rqrec.service.http.browse.explorer_routes import ASSETS
from rqrec.service.http.problems import problem_response
from rqrec.service.http.root_path import client_path
from rqrec.service.redis.client import RedisGate, RedisUnavailable
from rqrec.service.telemetry import Metrics

KEY_PREFIX = "rqrec:rate"
REDIS_WAIT_S = 0.01  # longest wait of a request for Redis
MAX_COUNTING = 8  # concurrent calls of Redis
REMEMBERED_CLIENTS = 10_000


class RateLimitMiddleware:
    """ASGI middleware that answers 429 to a client that sends requests too often.

    Probes, scrapes of /metrics, admin requests and the explorer's files are not limited: a page of some 40 files comes
    whole or not at all, and they come from memory. The page itself and what it asks for are limited.

    A request waits at most REDIS_WAIT_S for Redis. If Redis needs longer, the request is let through. If the late
    answer says that the client is over its rate, the client's next requests are refused instead. If Redis does not
    answer at all, no request is refused.

    Args:
        app: The ASGI app that this middleware wraps.
        rate: Largest rate of one client, such as `100/second`.
        gate: Sends the commands to Redis; None to count in memory, and only the requests to this replica.
        metrics: Counts refused requests.
    """

    def __init__(self, app: ASGIApp, *, rate: str, gate: RedisGate | None, metrics: Metrics) -> None:
        self.app = app
        self._rate = parse(rate)
        self._gate = gate
        self._metrics = metrics
        storage: Storage = MemoryStorage() if gate is None else _SharedStorage(gate.client)
        self._limiter = SlidingWindowCounterRateLimiter(storage)
        self._counting: set[asyncio.Task[bool]] = set()
        self._refused_until: TTLCache[str, float] = TTLCache(REMEMBERED_CLIENTS, self._rate.get_expiry(), time.time)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes a request to the app, or answers it with 429.

        Args:
            scope: ASGI scope.
            receive: ASGI's `receive`.
            send: ASGI's `send`.
        """
        is_limited = scope["type"] == "http" and not scope["path"].startswith(ASSETS)
        client = context_of(scope).client if is_limited else ADMIN
        if client == ADMIN:
            await self.app(scope, receive, send)
            return
        client = hashlib.blake2b(client.encode(), digest_size=16).hexdigest()  # a key may be a secret
        if await self._is_within_rate(client):
            await self.app(scope, receive, send)
            return
        self._metrics.shed.labels("rate").inc()
        error = RateLimited(
            f"the limit of one client is {self._rate}: wait as long as the header Retry-After says",
            retry_after_s=await self._wait_s(client),
        )
        await problem_response(error, client_path(scope))(scope, receive, send)

    async def _is_within_rate(self, client: str) -> bool:
        """Counts a request; True if its client may send it, or if Redis does not answer in time."""
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
            is_within_rate = await gate.call(self._limiter.hit, self._rate, client)
        except RedisUnavailable:
            return True
        if not is_within_rate and time.monotonic() - begin > REDIS_WAIT_S:  # this request has passed; refuse the next
            self._refused_until[client] = time.time() + await self._wait_s(client)
        return bool(is_within_rate)

    async def _wait_s(self, client: str) -> int:
        """Seconds until the client may send its next request; at least 1."""
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
    """A storage of the `limits` package on the service's own Redis client, of one server or of a cluster."""

    def __init__(self, client: Any) -> None:  # a Redis client, which `limits` annotates with another type
        self._client = client
        super().__init__("async+redis://", implementation="redispy", key_prefix=KEY_PREFIX)

    def configure_bridge(self) -> None:
        assert isinstance(self.bridge, RedispyBridge)
        self.bridge.connection_getter = lambda _readonly: self._client
