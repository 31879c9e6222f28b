"""The table of all open connections: it limits their number, and closes those whose time limit has passed."""

import asyncio
import resource
from collections import Counter
from collections.abc import Callable
from typing import Protocol

from rqrec.service.admission.client_identity import site_of
from rqrec.service.telemetry import Metrics

SWEEP_EVERY_S = 0.5
KEPT_DESCRIPTORS = 128  # file descriptors for files, Redis and everything else that the process opens
NEVER = float("inf")


class TrackedConnection(Protocol):
    """A connection, as the table uses it.

    Attributes:
        address: The client's IP address.
        expires_at: When to close it, by the event loop's clock; NEVER while a request is answered.
        idle_since: Since when no request is answered, by the same clock; NEVER while one is.
    """

    address: str
    expires_at: float
    idle_since: float

    def expire(self) -> None:
        """Closes a connection whose time limit has passed."""

    def abort(self) -> None:
        """Closes at once, and drops bytes that are not sent yet."""


class ConnectionTable:
    """Limits the number of connections, in all and of one address, and closes those whose time limit has passed.

    A new connection beyond `max_connections` displaces the one that has been idle longest. So a flood of silent
    connections keeps nobody out, health probes included.

    Args:
        metrics: Counts open and closed connections.
        max_connections: Most open connections; the limit of the operating system (ulimit -n) may be lower.
        max_client_connections: Most open connections of one address.
        is_shared: Whether an address is a proxy's and carries many clients; then `max_client_connections` is not
            applied to it.
    """

    def __init__(
        self,
        metrics: Metrics,
        *,
        max_connections: int,
        max_client_connections: int,
        is_shared: Callable[[str], bool],
    ) -> None:
        self._capacity = min(max_connections, _descriptors() - KEPT_DESCRIPTORS)
        self._per_client = max_client_connections
        self._is_shared = is_shared
        self._refused = metrics.connections_refused
        self._all: dict[TrackedConnection, None] = {}
        self._by_client: Counter[str] = Counter()
        self._sweeping: asyncio.TimerHandle | None = None
        metrics.connections.set_function(lambda: len(self._all))

    def add(self, connection: TrackedConnection) -> bool:
        """Lists a new connection.

        Args:
            connection: The connection, which has just been opened.

        Returns:
            False if there is no room for it; then it is not listed.
        """
        client = site_of(connection.address)
        if self._by_client[client] >= self._per_client and not self._is_shared(connection.address):
            self._refused.labels("client").inc()
            return False
        if len(self._all) >= self._capacity:
            oldest = min(self._all, key=lambda one: one.idle_since)
            if oldest.idle_since == NEVER:
                self._refused.labels("all").inc()
                return False
            self._refused.labels("displaced").inc()
            oldest.abort()
            self.remove(oldest)
        self._all[connection] = None
        self._by_client[client] += 1
        if self._sweeping is None:
            self._sweeping = asyncio.get_running_loop().call_later(SWEEP_EVERY_S, self._sweep)
        return True

    def remove(self, connection: TrackedConnection) -> None:
        """Removes a connection, if it is listed."""
        if connection not in self._all:
            return
        del self._all[connection]
        client = site_of(connection.address)
        self._by_client[client] -= 1
        if not self._by_client[client]:
            del self._by_client[client]

    def _sweep(self) -> None:
        """Closes every connection whose time limit has passed, and comes back in SWEEP_EVERY_S seconds."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        for connection in [one for one in self._all if one.expires_at <= now]:
            self._refused.labels("silent").inc()
            connection.expire()
        self._sweeping = loop.call_later(SWEEP_EVERY_S, self._sweep) if self._all else None


def _descriptors() -> int:
    """How many files this process may open, after the soft limit was raised to the hard one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY:
        hard = max(soft, 1 << 20)
    if soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    return hard
