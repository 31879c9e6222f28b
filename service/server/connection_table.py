"""All open connections: how many there may be, and which have been silent for too long."""

import asyncio
import resource
from collections import Counter
from collections.abc import Callable
from typing import Protocol

from rqrec.service.admission.client_identity import site_of
from rqrec.service.settings import Settings
from rqrec.service.telemetry import Metrics

SWEEP_EVERY_S = 0.5
KEPT_DESCRIPTORS = 128  # for files, Redis and what else the process opens
NEVER = float("inf")


class Listed(Protocol):
    """What the table needs of a connection.

    Attributes:
        address: The other end's.
        expires_at: By the event loop's clock, when it is to be closed if nothing happens; NEVER while it is served.
        idle_since: Since when it has had no request to answer; NEVER while it has one.
    """

    address: str
    expires_at: float
    idle_since: float

    def expire(self) -> None:
        """Closes it, for it was silent for too long."""

    def abort(self) -> None:
        """Closes it at once."""


class ConnectionTable:
    """Admits connections up to a bound, an address up to a share of it, and closes those that overstay.

    Where all places are taken, the connection that has been idle the longest makes room: so a flood of silent
    connections keeps nobody out, probes included.

    Args:
        settings: The bounds.
        metrics: Told how many there are, and which were refused.
        is_shared: Whether an address is a proxy's, which brings many clients.
    """

    def __init__(self, settings: Settings, metrics: Metrics, is_shared: Callable[[str], bool]) -> None:
        self._capacity = min(settings.max_connections, _descriptors() - KEPT_DESCRIPTORS)
        self._per_client = settings.max_client_connections
        self._is_shared = is_shared
        self._refused = metrics.connections_refused
        self._all: dict[Listed, None] = {}
        self._by_client: Counter[str] = Counter()
        self._sweeping: asyncio.TimerHandle | None = None
        metrics.connections.set_function(lambda: len(self._all))

    def add(self, connection: Listed) -> bool:
        """Lists a new connection; False, and nothing done, where there is no place for it."""
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

    def remove(self, connection: Listed) -> None:
        """Forgets a connection, if it is listed."""
        if connection not in self._all:
            return
        del self._all[connection]
        client = site_of(connection.address)
        self._by_client[client] -= 1
        if not self._by_client[client]:
            del self._by_client[client]

    def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        for connection in [one for one in self._all if one.expires_at <= now]:
            self._refused.labels("silent").inc()
            connection.expire()
        self._sweeping = loop.call_later(SWEEP_EVERY_S, self._sweep) if self._all else None


def _descriptors() -> int:
    """How many files this process may open, after asking for as many as the system grants."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY:
        hard = max(soft, 1 << 20)
    if soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    return hard
