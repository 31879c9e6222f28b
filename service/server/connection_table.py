"""A table of all open connections, which limits their number, and closes connections whose time limit has passed."""

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
    """What `ConnectionTable` needs of a connection.

    Attributes:
        address: The client's IP address.
        expires_at: When the connection must be closed, in seconds of the event loop's clock; NEVER while a request is
            answered and the client reads its answer.
        idle_since: When the connection became idle, by the same clock; NEVER while a request is answered.
    """

    address: str
    expires_at: float
    idle_since: float

    def expire(self) -> None:
        """Closes the connection, because its time limit has passed."""

    def abort(self) -> None:
        """Closes the connection at once. Bytes that are not sent yet are lost."""


class ConnectionTable:
    """A table of all open connections. It limits their number, and closes connections whose time limit has passed.

    When `max_connections` are open, a new connection displaces the one that has been idle longest. So a client that
    opens many connections without using them cannot keep others out, such as health probes.

    Args:
        metrics: Counts the open connections, and those that the table has refused or closed.
        max_connections: Largest number of open connections. If the operating system allows fewer open files
            (`ulimit -n`), the number is smaller.
        max_client_connections: Largest number of open connections of one client address.
        is_shared: Function that returns whether an address is a trusted proxy, which connects for many clients.
            `max_client_connections` does not apply to such an address.
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
        """Adds a new connection to the table. May close the connection that has been idle longest, to make room.

        Args:
            connection: The connection, which has just been opened.

        Returns:
            True if the connection was added. False if there is no room, or if its client has too many connections; then
            the caller must close it.
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
        """Removes a connection from the table. Does nothing if it is not in the table."""
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
