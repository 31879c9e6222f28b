"""Connects to Redis: one server or a Sentinel's master, by URL; retries, and a breaker over all calls."""

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar
from urllib.parse import urlsplit

from circuitbreaker import CircuitBreaker
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import ExponentialWithJitterBackoff
from redis.exceptions import RedisError

from service.settings import Settings
from service.telemetry import Metrics

ResultT = TypeVar("ResultT")
FAILURES = (RedisError, OSError)
RETRY_BASE_S, RETRY_CAP_S = 0.01, 0.1
SENTINEL_PORT = 26379
SCHEMES = ("redis", "rediss", "unix", "redis+sentinel", "rediss+sentinel")


class RedisAway(Exception):
    """Redis did not answer, or answered with an error; what depends on it must do without."""


class RedisGate:
    """A client behind a circuit breaker: after an error nobody asks for a while, so that a slow Redis slows nothing.

    Attributes:
        client: For building commands; to run them use `call`.
    """

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self.client = connect(settings)
        self._metrics = metrics
        self._breaker = CircuitBreaker(
            failure_threshold=1,
            recovery_timeout=max(settings.redis_pause_s, 1e-3),
            expected_exception=FAILURES,
            name="redis",
        )

    async def call(self, command: Callable[..., Awaitable[ResultT]], *arguments: Any) -> ResultT:
        """The command's answer.

        Raises:
            RedisAway: If Redis failed, or failed a moment ago.
        """
        if self._breaker.opened:
            raise RedisAway("it failed a moment ago")
        try:
            answer: ResultT = await self._breaker.call_async(command, *arguments)
        except FAILURES as error:
            self._metrics.redis_up.set(0)
            self._metrics.redis_errors.inc()
            raise RedisAway(f"{type(error).__name__}: {error}") from error
        self._metrics.redis_up.set(1)
        return answer

    async def close(self) -> None:
        """Lets go of the connections."""
        await self.client.aclose()


def connect(settings: Settings) -> Redis:
    """A client of the Redis that the settings name; nothing is sent yet.

    redis://, rediss:// (TLS) and unix:// name a server; `redis+sentinel://host:port,host:port/<master>/<db>` the
    Sentinels and the master's name. User and password of an ACL stand in the URL, as does `?ssl_ca_certs=…` for TLS.

    Raises:
        ValueError: If the URL is none of these.
    """
    assert settings.redis_url is not None
    url = settings.redis_url.get_secret_value()
    parts = urlsplit(url)
    if parts.scheme not in SCHEMES:
        raise ValueError(f"RQREC_REDIS_URL must begin with one of {', '.join(SCHEMES)}, got {parts.scheme!r}")
    timeouts = {"socket_timeout": settings.redis_timeout_s, "socket_connect_timeout": settings.redis_timeout_s}
    backoff = ExponentialWithJitterBackoff(cap=RETRY_CAP_S, base=RETRY_BASE_S)
    common: dict[str, Any] = {**timeouts, "decode_responses": True, "retry": Retry(backoff, settings.redis_retries)}
    scheme, _, kind = parts.scheme.partition("+")
    common["max_connections"] = settings.redis_connections
    if kind == "sentinel":
        return _sentinel_master(parts.netloc, parts.path, tls=scheme == "rediss", common=common, timeouts=timeouts)
    return Redis.from_url(url, **common)


def _sentinel_master(netloc: str, path: str, *, tls: bool, common: dict[str, Any], timeouts: dict[str, Any]) -> Redis:
    credentials, _, hosts = netloc.rpartition("@")
    username, _, password = credentials.partition(":")
    names = path.strip("/").split("/")
    master, database = names[0], int(names[1]) if len(names) > 1 else 0
    if not master or not hosts:
        raise ValueError("a Sentinel URL is redis+sentinel://host:port,host:port/<master>/<db>")
    pairs = [host.rpartition(":") if ":" in host else (host, ":", str(SENTINEL_PORT)) for host in hosts.split(",")]
    sentinel = Sentinel(  # type: ignore[no-untyped-call]
        [(host, int(port)) for host, _, port in pairs], sentinel_kwargs={**timeouts, "ssl": tls}
    )
    if credentials:
        common |= {"username": username or None, "password": password or None}
    found: Redis = sentinel.master_for(master, db=database, ssl=tls, **common)
    return found
