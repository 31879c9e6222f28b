"""Admission control: who may come in, before anything is spent on a request.

A request holds a permit from its headers on until it is answered. Requests that are being searched do not count as
waiting. Probes are always let in, and a few scrapes of every client, or an overload would blind and kill the service;
requests with the admin token have permits of their own, so that a rollback works in an overload.
"""

import hmac
import math
from collections import Counter
from collections.abc import Callable, Sequence

from starlette.types import Scope

from rqrec.service.admission.client_identity import ClientIdentity
from rqrec.service.admission.request_context import RequestContext
from rqrec.service.errors import Overloaded
from rqrec.service.settings import Settings
from rqrec.service.telemetry import Metrics

METRICS = "/metrics"
PROBES = ("/healthz", "/readyz", METRICS)
MAX_SCRAPES = 4  # of one client at the same time
RECOMMEND = "/recommend"
ADMIN = "admin"  # the client that probes and the bearer of the admin token are
ADMIN_TIMEOUT_S = 300.0  # loading a model takes as long as it takes
RESERVE_SHARE = 1 / 8  # of the permits, kept for clients that hold few
SMALL_BODY_BYTES = 64 << 10
FEW = 4  # clients share the reserve, at least
Observers = Sequence[Callable[[Scope, int, float], None]]


class Admission:
    """Gives out permits.

    Of `max_queue` permits an eighth is left to clients that hold few, so that one client can never take all. A request
    first weighs one permit; a wide search weighs as many as it costs.

    Args:
        settings: The bounds, and the admin token.
        metrics: Told of whom it refuses.
        running: The weight of all requests that are being searched.
        seconds_per_request: The running mean of a search's time, for Retry-After.

    Attributes:
        identity: Tells clients apart.
    """

    def __init__(
        self,
        settings: Settings,
        metrics: Metrics,
        *,
        running: Callable[[], int],
        seconds_per_request: Callable[[], float],
    ) -> None:
        self.identity = ClientIdentity(settings.trusted_proxies, settings.rate_limit_header)
        self._settings = settings
        self._metrics = metrics
        self._running = running
        self._seconds_per_request = seconds_per_request
        token = settings.admin_token
        self._authorization = None if token is None else b"Bearer " + token.get_secret_value().encode()
        self._capacity = settings.max_queue
        self._reserve = int(settings.max_queue * RESERVE_SHARE)
        self._in_service = 0
        self._admins = 0
        self._body_bytes = 0
        self._held: Counter[str] = Counter()
        self._scrapes: Counter[str] = Counter()

    @property
    def waiting(self) -> int:
        """The weight of all requests that are in the service and not being searched."""
        return self._in_service - self._running()

    def admit(self, scope: Scope) -> RequestContext:
        """Lets a request in.

        Args:
            scope: The request, its headers complete.

        Returns:
            Its context; whoever admitted it calls `release` on it when the request is over.

        Raises:
            Overloaded: If as many wait as may.
        """
        settings = self._settings
        body_timeout_s = settings.body_timeout_s
        if scope["path"] == METRICS:
            return self._admit_scrape(scope)
        if scope["path"] in PROBES:
            return RequestContext(ADMIN, body_timeout_s=body_timeout_s, timeout_s=None)
        if scope["path"] != RECOMMEND and self._bears_token(scope):
            if self._admins >= settings.max_admin_requests:
                raise self._refuse(f"{self._admins} admin requests are under way")
            self._admins += 1
            return RequestContext(
                ADMIN, body_timeout_s=body_timeout_s, timeout_s=ADMIN_TIMEOUT_S, release=self._release_admin
            )
        client = self.identity.identify(scope)
        self._take(client, 1)
        return RequestContext(
            client, body_timeout_s=body_timeout_s, timeout_s=settings.timeout_ms / 1000, release=self._release
        )

    def _admit_scrape(self, scope: Scope) -> RequestContext:
        """Lets Prometheus in whatever the load is, and a flood of scrapes not."""
        client = self.identity.identify(scope)
        if self._scrapes[client] >= MAX_SCRAPES:
            raise self._refuse(f"{MAX_SCRAPES} scrapes of this client are under way")
        self._scrapes[client] += 1

        def release(_context: RequestContext) -> None:
            self._scrapes[client] -= 1
            if not self._scrapes[client]:
                del self._scrapes[client]

        body_timeout_s = self._settings.body_timeout_s
        return RequestContext(ADMIN, body_timeout_s=body_timeout_s, timeout_s=None, release=release)

    def weigh(self, context: RequestContext, weight: int) -> None:
        """Sets what a request counts for, once that is known.

        Raises:
            Overloaded: If that is more than there is room for; a request on its own is never too heavy.
        """
        if weight > context.weight and context.client != ADMIN:
            self._take(context.client, weight - context.weight, alone=self.waiting <= context.weight)
            context.weight = weight

    def hold_body(self, context: RequestContext, num_bytes: int) -> None:
        """Counts a part of a body that is kept in memory until the request is over.

        Raises:
            Overloaded: If all bodies together would take more memory than they may.
        """
        limit = self._settings.max_bodies_bytes
        if context.body_bytes + num_bytes > SMALL_BODY_BYTES:
            limit = int(limit * (1 - RESERVE_SHARE))  # the rest is for small bodies
        if self._body_bytes + num_bytes > limit and self._body_bytes > context.body_bytes:
            raise self._refuse(f"bodies of {self._body_bytes} bytes are being read")
        self._body_bytes += num_bytes
        context.body_bytes += num_bytes

    def drop_body(self, context: RequestContext) -> None:
        """The body is no longer in memory."""
        self._body_bytes -= context.body_bytes
        context.body_bytes = 0

    def _take(self, client: str, weight: int, *, alone: bool = False) -> None:
        waiting, held = self.waiting, self._held.get(client, 0)
        may_use_reserve = held + weight <= max(self._reserve // FEW, 1)
        limit = self._capacity if may_use_reserve else self._capacity - self._reserve
        if waiting + weight > limit and not alone:
            raise self._refuse(f"{waiting} requests are waiting")
        self._in_service += weight
        self._held[client] = held + weight

    def _release(self, context: RequestContext) -> None:
        self.drop_body(context)
        self._in_service -= context.weight
        held = self._held[context.client] - context.weight
        if held:
            self._held[context.client] = held
        else:
            del self._held[context.client]

    def _release_admin(self, context: RequestContext) -> None:
        self.drop_body(context)
        self._admins -= 1

    def _refuse(self, reason: str) -> Overloaded:
        self._metrics.shed.labels("overload").inc()
        wait_s = max(math.ceil(self.waiting * self._seconds_per_request()), 1)
        return Overloaded(f"{reason}: try again in {wait_s} s", retry_after_s=wait_s)

    def _bears_token(self, scope: Scope) -> bool:
        if self._authorization is None:
            return False
        given = next((value for name, value in scope["headers"] if name == b"authorization"), b"")
        return hmac.compare_digest(given, self._authorization)
