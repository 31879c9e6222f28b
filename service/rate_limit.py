"""Middleware that bounds how often one client may ask, counted in Redis for all replicas together."""

import hashlib
import math
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from limits import RateLimitItem, WindowStats, parse
from limits.aio.storage import MemoryStorage, RedisStorage, Storage
from limits.aio.storage.redis.redispy import RedispyBridge
from limits.aio.strategies import SlidingWindowCounterRateLimiter
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from service.errors import RateLimited, problem_response
from service.redis_client import RedisAway, RedisGate
from service.settings import Settings
from service.shedding import NEVER_SHED
from service.telemetry import Metrics

KEY_PREFIX = "rqrec:rate"
AnswerT = TypeVar("AnswerT")


class RateLimitMiddleware:
    """Answers 429 to a client that asks more often than it may; probes and metrics are free. Pure ASGI.

    A client is who sends the same value of the header that the settings name, or else who has the same address. While
    Redis is away nobody is refused.

    Args:
        app: The app.
        settings: The rate, and the header.
        gate: Redis; None to count in process, each replica for itself.
        metrics: Told of whom it refuses.
    """

    def __init__(self, app: ASGIApp, settings: Settings, gate: RedisGate | None, metrics: Metrics) -> None:
        assert settings.rate_limit is not None
        self.app = app
        self._rate = parse(settings.rate_limit)
        self._header = settings.rate_limit_header
        self._gate = gate
        self._metrics = metrics
        storage: Storage = MemoryStorage() if gate is None else _SharedStorage(gate.client)
        self._limiter = SlidingWindowCounterRateLimiter(storage)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes the request on unless its client has had its share."""
        if scope["type"] != "http" or scope["path"] in NEVER_SHED or await self._may(client := self._client(scope)):
            await self.app(scope, receive, send)
            return
        self._metrics.shed.labels("rate").inc()
        error = RateLimited(
            f"a client may ask {self._rate}: wait for Retry-After", retry_after_s=await self._wait_s(client)
        )
        await problem_response(error, scope["path"])(scope, receive, send)

    def _client(self, scope: Scope) -> str:
        named = Headers(scope=scope).get(self._header)
        address = scope["client"][0] if scope.get("client") else ""
        # The header may be a secret, which has no place in Redis.
        return hashlib.blake2b((named or address).encode(), digest_size=16).hexdigest()

    async def _may(self, client: str) -> bool:
        return await self._asked(self._limiter.hit, client, without_redis=True)

    async def _wait_s(self, client: str) -> int:
        now = time.time()
        window = await self._asked(self._limiter.get_window_stats, client, without_redis=WindowStats(now, 0))
        return max(1, math.ceil(window.reset_time - now))

    async def _asked(
        self, question: Callable[[RateLimitItem, str], Awaitable[AnswerT]], client: str, *, without_redis: AnswerT
    ) -> AnswerT:
        if self._gate is None:
            return await question(self._rate, client)
        try:
            return await self._gate.call(question, self._rate, client)
        except RedisAway:
            return without_redis


class _SharedStorage(RedisStorage):
    """Counts over a client that is there already, be it of one server or of a cluster."""

    def __init__(self, client: Any) -> None:  # a Redis, which `limits` types otherwise
        self._client = client
        super().__init__("async+redis://", implementation="redispy", key_prefix=KEY_PREFIX)

    def configure_bridge(self) -> None:
        assert isinstance(self.bridge, RedispyBridge)
        self.bridge.connection_getter = lambda _readonly: self._client
