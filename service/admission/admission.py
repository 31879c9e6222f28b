"""Admission control: each request needs a permit before the service does any work for it.

A request holds its permit from its headers to its answer. Requests in the search itself are not counted as waiting.

- Probes (/healthz, /readyz) always get a permit: a failed probe would restart a busy replica.
- Each client may run MAX_SCRAPES scrapes of /metrics at the same time, so that monitoring works during an overload.
- Requests with the admin token have permits of their own, so that an operator can roll back during an overload.
"""

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from starlette.types import Scope

from rqrec.service.admission.admin_token import AdminToken
from rqrec.service.admission.client_identity import ClientIdentity
from rqrec.service.admission.request_context import RequestContext
from rqrec.service.admission.time_limit import TimeLimit
from rqrec.service.errors import Overloaded
from rqrec.service.telemetry import Metrics

METRICS = "/metrics"
PROBES = ("/healthz", "/readyz", METRICS)
MAX_SCRAPES = 4  # of one client at the same time
RECOMMEND = "/recommend"
ADMIN = "admin"  # the client name of probes, scrapes and requests with the admin token
ADMIN_TIMEOUT_S = 300.0  # loading a model may take minutes
RESERVE_SHARE = 1 / 8  # of the permits, for clients that hold few
SMALL_BODY_BYTES = 64 << 10
FEW = 4  # a client may use the reserve while it holds at most 1 / FEW of it


@dataclass(frozen=True)
class AdmissionLimits:
    """What may be in the service at one time, and for how long.

    Attributes:
        max_queue: Permits for requests that wait.
        max_admin_requests: Permits for requests with the admin token.
        max_bodies_bytes: Memory for the bodies of all requests, in bytes.
        timeout_s: Time for the answer, from a request's headers, in seconds.
        body_timeout_s: Time for the body, from a request's headers, in seconds.
    """

    max_queue: int
    max_admin_requests: int
    max_bodies_bytes: int
    timeout_s: float
    body_timeout_s: float


class Admission:
    """Gives out permits.

    An eighth of the permits is a reserve. Only clients that hold few permits may use it, so that one client can never
    take all. A request holds one permit at first. When its search is known and costs more than one of the default beam
    width, the request holds as many permits as the search costs.

    Args:
        limits: What may be in the service at one time.
        identity: Tells clients apart.
        admin_token: Gives a request one of the admin permits.
        metrics: Counts refused requests.
        running: Gives the weight of all requests in the search.
        seconds_per_request: Gives the running mean of a search's time, in seconds, for Retry-After.

    Attributes:
        identity: Tells clients apart.
        admin_token: The token of the admin routes.
    """

    def __init__(
        self,
        limits: AdmissionLimits,
        identity: ClientIdentity,
        admin_token: AdminToken,
        metrics: Metrics,
        *,
        running: Callable[[], int],
        seconds_per_request: Callable[[], float],
    ) -> None:
        self.identity = identity
        self.admin_token = admin_token
        self._limits = limits
        self._metrics = metrics
        self._running = running
        self._seconds_per_request = seconds_per_request
        self._body_limit = TimeLimit(limits.body_timeout_s)
        self._answer_limit = TimeLimit(limits.timeout_s)
        self._admin_limit = TimeLimit(ADMIN_TIMEOUT_S)
        self._reserve = int(limits.max_queue * RESERVE_SHARE)
        self._in_service = 0
        self._admins = 0
        self._body_bytes = 0
        self._held: Counter[str] = Counter()  # weight by client
        self._scrapes: Counter[str] = Counter()  # scrapes by client

    @property
    def waiting(self) -> int:
        """The weight of all requests that are in the service and not in the search."""
        return self._in_service - self._running()

    def admit(self, scope: Scope) -> RequestContext:
        """Gives a request a permit.

        Args:
            scope: The request's ASGI scope, its headers complete.

        Returns:
            The request's context. The caller calls `release` on it when the request is over.

        Raises:
            Overloaded: If no permit is left.
        """
        path = scope["path"]
        if path == METRICS:
            return self._admit_scrape(scope)
        if path in PROBES:
            return RequestContext(ADMIN, body_limit=self._body_limit, answer_limit=None)
        if path != RECOMMEND and self.admin_token.is_borne_by(scope):
            return self._admit_admin()
        client = self.identity.identify(scope)
        self._take(client, 1)
        return RequestContext(
            client, body_limit=self._body_limit, answer_limit=self._answer_limit, release=self._release
        )

    def weigh(self, context: RequestContext, weight: int) -> None:
        """Sets the weight of a request, once its search is known. Requests with the admin token are not weighed.

        If no other request is waiting, a request is accepted whatever its weight is.

        Args:
            context: The request's context.
            weight: Cost of its search, in searches of the default width; at least 1.

        Raises:
            Overloaded: If the waiting requests leave no room for this weight.
        """
        if weight > context.weight and context.client != ADMIN:
            self._take(context.client, weight - context.weight, alone=self.waiting <= context.weight)
            context.weight = weight

    def hold_body(self, context: RequestContext, num_bytes: int) -> None:
        """Adds the size of a part of a body to the memory in use. It stays counted until the request is over.

        Args:
            context: The request's context.
            num_bytes: Size of the part.

        Raises:
            Overloaded: If the bodies of all requests would take too much memory.
        """
        limit = self._limits.max_bodies_bytes
        if context.body_bytes + num_bytes > SMALL_BODY_BYTES:
            limit = int(limit * (1 - RESERVE_SHARE))  # the rest is for small bodies
        if self._body_bytes + num_bytes > limit and self._body_bytes > context.body_bytes:
            raise self._refuse(f"bodies of {self._body_bytes} bytes are in memory")
        self._body_bytes += num_bytes
        context.body_bytes += num_bytes

    def drop_body(self, context: RequestContext) -> None:
        """Gives back the memory of a request's body."""
        self._body_bytes -= context.body_bytes
        context.body_bytes = 0

    def _admit_admin(self) -> RequestContext:
        if self._admins >= self._limits.max_admin_requests:
            raise self._refuse(f"{self._admins} admin requests are being answered")
        self._admins += 1
        return RequestContext(
            ADMIN, body_limit=self._body_limit, answer_limit=self._admin_limit, release=self._release_admin
        )

    def _admit_scrape(self, scope: Scope) -> RequestContext:
        """Admits a scrape whatever the load is, unless this client already runs MAX_SCRAPES of them."""
        client = self.identity.identify(scope)
        if self._scrapes[client] >= MAX_SCRAPES:
            raise self._refuse(f"{MAX_SCRAPES} scrapes of this client are being answered")
        self._scrapes[client] += 1

        def release(_context: RequestContext) -> None:
            self._scrapes[client] -= 1
            if not self._scrapes[client]:
                del self._scrapes[client]

        return RequestContext(ADMIN, body_limit=self._body_limit, answer_limit=None, release=release)

    def _take(self, client: str, weight: int, *, alone: bool = False) -> None:
        """Adds weight to what a client holds, or refuses it."""
        waiting, held = self.waiting, self._held.get(client, 0)
        may_use_reserve = held + weight <= max(self._reserve // FEW, 1)
        limit = self._limits.max_queue - (0 if may_use_reserve else self._reserve)
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
