"""Connects to Redis: one server, a Sentinel's master or a cluster, by URL; retries, and a breaker over all calls."""

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, cast
from urllib.parse import unquote, urlsplit

from circuitbreaker import CircuitBreaker
from redis.asyncio import Redis, RedisCluster
from redis.asyncio.client import Pipeline
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import ExponentialWithJitterBackoff
from redis.exceptions import RedisClusterException, RedisError

from service.settings import Settings
from service.telemetry import Metrics

ResultT = TypeVar("ResultT")
FAILURES = (RedisError, RedisClusterException, OSError)
RETRY_BASE_S, RETRY_CAP_S = 0.01, 0.1
SENTINEL_PORT, SERVER_PORT = 26379, 6379
SCHEMES = ("redis", "rediss", "unix", "redis+sentinel", "rediss+sentinel", "redis+cluster", "rediss+cluster")


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
    Sentinels and the master's name; `redis+cluster://host:port,host:port` some nodes of a cluster. User and password
    of an ACL stand in the URL, as does `?ssl_ca_certs=…` for TLS to one server.

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
    if not kind:
        return Redis.from_url(url, **common)
    common["ssl"] = scheme == "rediss"
    credentials, _, hosts = parts.netloc.rpartition("@")
    if credentials:
        username, _, password = map(unquote, credentials.partition(":"))
        common |= {"username": username or None, "password": password or None}
    if kind == "sentinel":
        return _sentinel_master(hosts, parts.path, common=common, timeouts=timeouts)
    return _cluster(hosts, parts.path, common=common)


def _sentinel_master(hosts: str, path: str, *, common: dict[str, Any], timeouts: dict[str, Any]) -> Redis:
    names = path.strip("/").split("/")
    master, database = names[0], int(names[1]) if len(names) > 1 else 0
    if not master or not hosts:
        raise ValueError("a Sentinel URL is redis+sentinel://host:port,host:port/<master>/<db>")
    sentinel = Sentinel(  # type: ignore[no-untyped-call]
        _addresses(hosts, SENTINEL_PORT), sentinel_kwargs={**timeouts, "ssl": common["ssl"]}
    )
    found: Redis = sentinel.master_for(master, db=database, **common)
    return found


def _cluster(hosts: str, path: str, *, common: dict[str, Any]) -> Redis:
    if not hosts or path.strip("/0"):
        raise ValueError("a cluster's URL is redis+cluster://host:port,host:port, without a database")
    nodes = [ClusterNode(host, port) for host, port in _addresses(hosts, SERVER_PORT)]
    # Not a Redis, but every command that is used here has the same name and arguments there.
    return cast("Redis", RedisCluster(startup_nodes=nodes, **common))


def _addresses(hosts: str, default_port: int) -> list[tuple[str, int]]:
    pairs = [host.rpartition(":") if ":" in host else (host, ":", str(default_port)) for host in hosts.split(",")]
    return [(host, int(port)) for host, _, port in pairs]


def add_rename(pipeline: Pipeline, source: str, target: str) -> None:
    """Adds RENAME to a transaction; the method of that name refuses in a cluster, even where both are in one slot."""
    pipeline.execute_command("RENAME", source, target)
