"""The client of Redis: a circuit breaker surrounds every call, and a failed call is retried.

The URL names one server, the Sentinels of a master, or a cluster; see `service.redis.url`.
"""

import logging
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar, cast

from circuitbreaker import CircuitBreaker
from redis.asyncio import Redis, RedisCluster
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.connection import Connection, ConnectionPool
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import ExponentialWithJitterBackoff
from redis.exceptions import RedisClusterException, RedisError, ResponseError

from rqrec.service.redis.options import RedisOptions
from rqrec.service.redis.quick_reads import QuickReads
from rqrec.service.redis.url import RedisUrl, read_redis_url
from rqrec.service.telemetry import Metrics

ResultT = TypeVar("ResultT")
FAILURES = (RedisError, RedisClusterException, OSError)
RETRY_BASE_S, RETRY_CAP_S = 0.01, 0.1
LOGGED_AGAIN_AFTER_S = 600.0
KEY_PREFIX, NO_EVICTION = "rqrec", "noeviction"
# The client puts the failed command of a pipeline before the answer of Redis; its key or value may name a user.
PIPELINE_COMMAND = re.compile(r"^Command # \d+ \(.*\) of pipeline caused error: ", re.DOTALL)
logger = logging.getLogger("rqrec")


class RedisUnavailable(Exception):
    """Redis did not answer in time, failed a moment ago, or answered with an error (`RedisRefused`)."""


class RedisRefused(RedisUnavailable):
    """Redis is reachable, but it answered a command with an error."""


class RedisGate:
    """A client of Redis behind a circuit breaker.

    After a failure, all calls fail at once for `options.pause_s` seconds. So a slow Redis does not slow down requests.

    Args:
        options: The URL, the timeouts, the retries, and the pause after a failure.
        metrics: Counts failed calls and shows whether Redis answers.

    Attributes:
        client: The redis-py client. To run a command, pass a method of it to `RedisGate.call`.
        quick_reads: Runs short reads sooner than the client does, with `RedisGate.call` too; None if Redis is not one
            server.
    """

    def __init__(self, options: RedisOptions, metrics: Metrics) -> None:
        self.client = connect(options)
        self.quick_reads = _quick_reads(self.client, options.timeout_s)
        self._metrics = metrics
        self._breaker = CircuitBreaker(
            failure_threshold=1,
            recovery_timeout=max(options.pause_s, 1e-3),
            expected_exception=_is_failure,
            name="redis",
        )
        self._logged: dict[str, float] = {}  # kind of failure → when it was logged last, monotonic seconds
        self._is_down: bool | None = None  # None before the first answer
        self._evicts = False

    async def call(self, command: Callable[..., Awaitable[ResultT]], *arguments: Any) -> ResultT:
        """Runs a Redis command and returns its answer.

        Args:
            command: A method of `RedisGate.client`, or another coroutine function that uses this client.
            arguments: The arguments of the command.

        Raises:
            RedisRefused: If Redis answered with an error.
            RedisUnavailable: If Redis failed now, or less than `RedisOptions.pause_s` seconds ago.
        """
        if self._breaker.opened:
            raise RedisUnavailable("Redis failed a moment ago and is not called again yet")
        try:
            answer: ResultT = await self._breaker.call_async(command, *arguments)
        except FAILURES as error:
            self._metrics.redis_errors.inc()
            self._log(error)
            if not _is_failure(type(error), error):
                self._note_answer()
                raise RedisRefused(_reason(error)) from error
            self._is_down = True
            self._metrics.redis_up.set(0)
            raise RedisUnavailable(_reason(error)) from error
        self._note_answer()
        return answer

    async def try_to_delete(self, *keys: str) -> None:
        """Deletes keys. Does nothing if Redis is unavailable, so it is only for keys that expire anyway."""
        try:
            await self.call(self.client.delete, *keys)
        except RedisUnavailable:
            return

    async def check_eviction(self) -> None:
        """Logs an error if Redis is set to evict keys when it is full, because written items would get lost.

        Raises:
            RedisUnavailable: If Redis does not answer.
        """
        try:
            info = await self.call(self.client.info, "memory")
        except RedisRefused:  # an ACL may forbid INFO
            return
        nodes = list(info.values()) if all(isinstance(node, dict) for node in info.values()) else [info]
        evicts = any(node.get("maxmemory_policy", NO_EVICTION) != NO_EVICTION for node in nodes)
        if evicts and not self._evicts:
            logger.error("Redis drops keys when it is full, so writes get lost: set maxmemory-policy %s", NO_EVICTION)
        self._evicts = evicts
        self._metrics.redis_evicts.set(evicts)

    async def close(self) -> None:
        """Closes the connections to Redis."""
        if self.quick_reads is not None:
            await self.quick_reads.close()
        await self.client.aclose()

    def _note_answer(self) -> None:
        if self._is_down is False:
            return
        self._metrics.redis_up.set(1)
        if self._is_down:
            logger.info("Redis answers again")
        self._is_down = False

    def _log(self, error: Exception) -> None:
        """Logs a failure, unless a failure of the same kind was logged in the last minutes."""
        kind, now = f"{type(error).__name__} {str(error).partition(' ')[0]}", time.monotonic()
        if now - self._logged.get(kind, -LOGGED_AGAIN_AFTER_S) >= LOGGED_AGAIN_AFTER_S:
            self._logged[kind] = now
            logger.warning("Redis fails: %.300s", _reason(error))


def _reason(error: Exception) -> str:
    """Names an error, without the command that it may quote."""
    return f"{type(error).__name__}: {PIPELINE_COMMAND.sub('', str(error))}"


def _is_failure(kind: type[BaseException], error: BaseException) -> bool:
    """Whether Redis is unavailable; False if Redis answered with an error."""
    return issubclass(kind, FAILURES) and not isinstance(error, ResponseError)


def connect(options: RedisOptions) -> Redis:
    """Makes a Redis client for the server, Sentinels or cluster in `options.url`. It connects at its first command."""
    url = read_redis_url(options.url)
    timeouts = {"socket_timeout": options.timeout_s, "socket_connect_timeout": options.timeout_s}
    common: dict[str, Any] = {
        **timeouts,
        "decode_responses": True,
        "encoding_errors": "replace",  # bytes that other software wrote must not raise an error here
        "retry": Retry(ExponentialWithJitterBackoff(cap=RETRY_CAP_S, base=RETRY_BASE_S), options.retries),
        "max_connections": options.max_connections,
    }
    if url.kind == "server":
        return Redis.from_url(url.text, **common)
    common |= {"ssl": url.is_tls, "username": url.username, "password": url.password}
    if url.kind == "sentinel":
        return _sentinel_master(url, common=common, timeouts=timeouts)
    nodes = [ClusterNode(host, port) for host, port in url.addresses]
    # RedisCluster is not a subclass of Redis, but the commands used here have the same names and arguments.
    return cast("Redis", RedisCluster(startup_nodes=nodes, **common))


def _quick_reads(client: Redis | RedisCluster, timeout_s: float) -> QuickReads | None:
    """A connection of its own. Sentinels may name another master at any time; only the pool of the client learns it."""
    if isinstance(client, RedisCluster) or type(client.connection_pool) is not ConnectionPool:
        return None
    connection: Connection = client.connection_pool.make_connection()  # type: ignore[no-untyped-call]
    connection.socket_timeout = None
    return QuickReads(connection, timeout_s)


def _sentinel_master(url: RedisUrl, *, common: Mapping[str, Any], timeouts: Mapping[str, Any]) -> Redis:
    sentinel = Sentinel(  # type: ignore[no-untyped-call]
        url.addresses, sentinel_kwargs={**timeouts, "ssl": common["ssl"]}
    )
    found: Redis = sentinel.master_for(url.master, db=url.database, **common)
    return found


def version_prefix(version: str) -> str:
    """Returns the prefix of all Redis keys of a model version: `rqrec:{<version>}`.

    The braces put all these keys into one slot of a Redis cluster.
    """
    return f"{KEY_PREFIX}:{{{version}}}"
