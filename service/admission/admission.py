"""Admission control: each request needs a permit before the service does any work for it.

A request gets its permit when its headers have arrived, and gives it back after its answer. While a request is being
searched, its permit is free for another request.

- Probes (/healthz, /readyz) always get a permit: a failed probe would restart a busy replica.
- Each client may run MAX_SCRAPES scrapes of /metrics at the same time, so that monitoring works during an overload.
- Requests with the admin token have permits of their own, so that an operator can roll back during an overload. This
  does not hold for POST /recommend and POST /events, which are never admin requests.
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
PUBLIC = ("/recommend", "/events")  # with the admin token too, for a flood of these must not keep an operator out
ADMIN = "admin"  # the client name of probes, scrapes and requests with the admin token
ADMIN_TIMEOUT_S = 300.0  # loading a model may take minutes
RESERVE_SHARE = 1 / 8  # of the permits, for clients that hold few
SMALL_BODY_BYTES = 64 << 10
FEW = 4  # a client may use the reserve while it holds at most 1 / FEW of it


@dataclass(frozen=True)
class AdmissionLimits:
    """Limits on the number of requests in the service at the same time, and on their duration.

    A request takes a permit when its headers have arrived. It gives the permit back when its search begins, so permits
    limit the requests that wait and not those whose search runs.

    Attributes:
        max_queue: Number of permits for waiting requests. A request whose search has many beams needs several permits.
        max_admin_requests: Number of permits for requests with the admin token.
        max_bodies_bytes: Memory for the bodies of all requests together, in bytes.
        timeout_s: Longest time from a request's headers to its answer, in seconds. Probes and scrapes have no such
            limit, and requests with the admin token have a longer one, ADMIN_TIMEOUT_S.
        body_timeout_s: Longest time from a request's headers to the end of its body, in seconds.
    """

    max_queue: int
    max_admin_requests: int
    max_bodies_bytes: int
    timeout_s: float
    body_timeout_s: float


class Admission:
    """Gives permits to requests, and refuses a request for which no permit is left.

    An eighth of the permits is a reserve. Only clients that hold few permits may use the reserve. So one client can
    never take all permits. A request gets one permit at first. When its body has been read, its beam width is known. A
    request whose search costs more than a search of the default beam width then gets more permits: see
    `Admission.weigh`.

    Args:
        limits: The numbers of permits, and the time limits.
        identity: Finds the name of the client of a request.
        admin_token: Recognises requests with the admin token, which have permits of their own.
        metrics: Counts refused requests.
        running: Returns the number of permits held by the requests that are being searched now.
        seconds_per_request: Returns the mean search time of a request, in seconds. The header Retry-After of a refusal
            is computed from it.

    Attributes:
        identity: Finds the name of the client of a request.
        admin_token: The token that a request to an admin route must carry.
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
        """The number of permits held by all requests in the service that are not being searched now.

        Such a request waits, for example for its body or for its search. Probes, scrapes and admin requests do not
        count.
        """
        return self._in_service - self._running()

    def admit(self, scope: Scope) -> RequestContext:
        """Gives a request a permit. Called when its headers have arrived.

        Args:
            scope: The request's ASGI scope.

        Returns:
            The new context of the request. The caller must call its method `release` when the request is over.

        Raises:
            Overloaded: If no permit is left.
        """
        path = scope["path"]
        if path == METRICS:
            return self._admit_scrape(scope)
        if path in PROBES:
            return RequestContext(ADMIN, body_limit=self._body_limit, answer_limit=None)
        if path not in PUBLIC and self.admin_token.is_borne_by(scope):
            return self._admit_admin()
        client = self.identity.identify(scope)
        self._take(client, 1)
        return RequestContext(
            client, body_limit=self._body_limit, answer_limit=self._answer_limit, release=self._release
        )

    def weigh(self, context: RequestContext, weight: int) -> None:
        """Gives a request more permits if its search costs more than a search of the default beam width.

        Does nothing if the request already holds `weight` permits, or is an admin request. While no other request is
        waiting, the limit on the number of permits does not apply. So even the most expensive search is possible in an
        idle service.

        Args:
            context: The request's context.
            weight: Number of permits that the request needs: the cost of its search, in searches of the default beam
                width; at least 1.

        Raises:
            Overloaded: If too few permits are left, and other requests are waiting.
        """
        if weight > context.weight and context.client != ADMIN:
            self._take(context.client, weight - context.weight, alone=self.waiting <= context.weight)
            context.weight = weight

    def hold_body(self, context: RequestContext, num_bytes: int) -> None:
        """Counts received bytes of a request's body as memory in use, until the request is over.

        Args:
            context: The request's context.
            num_bytes: Number of newly received bytes, which were not counted before.

        Raises:
            Overloaded: If the bodies of all requests together would take too much memory. Large bodies are refused
                earlier than small ones.
        """
        limit = self._limits.max_bodies_bytes
        if context.body_bytes + num_bytes > SMALL_BODY_BYTES:
            limit = int(limit * (1 - RESERVE_SHARE))  # the rest is for small bodies
        if self._body_bytes + num_bytes > limit and self._body_bytes > context.body_bytes:
            raise self._refuse(f"bodies of {self._body_bytes} bytes are in memory")
        self._body_bytes += num_bytes
        context.body_bytes += num_bytes

    def drop_body(self, context: RequestContext) -> None:
        """Stops counting the body of a request as memory in use. Called when the request is over."""
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
