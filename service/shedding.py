"""What happens to requests in an overload: they are refused before anything is spent on them."""

import time
from collections.abc import Callable
from typing import NamedTuple

from starlette.types import Scope

from service.envelope import Told, answer_headers
from service.errors import Overloaded, problem_response
from service.ids import Header

NEVER_SHED = ("/healthz", "/readyz", "/metrics")  # or an overload would blind and kill the service


class Refusal(NamedTuple):
    """A whole answer."""

    status: int
    headers: list[Header]
    body: bytes


class Shedding:
    """Refuses every request, probes and metrics apart, while the queue before the search is full.

    `service.protocol` asks it when a request's headers are there. So it does the work of all layers for what it
    refuses: what a refusal costs is missing from the answers.

    Args:
        overloaded: The error while it is so, else None.
        told: As `service.envelope.Envelope` tells of answered requests.
    """

    def __init__(self, overloaded: Callable[[], Overloaded | None], told: Told) -> None:
        self._overloaded = overloaded
        self._told = told

    def refusal(self, scope: Scope) -> Refusal | None:
        """The answer to a request that must not be passed on."""
        if scope["path"] in NEVER_SHED or (error := self._overloaded()) is None:
            return None
        begin, headers = time.perf_counter(), answer_headers(scope)
        response = problem_response(error, scope["path"])
        for tell in self._told:
            tell(scope, response.status_code, time.perf_counter() - begin)
        return Refusal(response.status_code, response.raw_headers + headers, bytes(response.body))
