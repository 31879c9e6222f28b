"""What surrounds every request: admission, its deadline, the ids and headers of its answer, and how long it took.

One layer, for every layer around a request takes its share of the machine; a refusal in an overload is made without.
"""

import re
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from fastapi.exceptions import RequestValidationError
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from rqrec.service.admission.admission import Admission
from rqrec.service.admission.request_context import CONTEXT, RequestContext
from rqrec.service.errors import BodyTimeout, DeadlinePassed, Overloaded
from rqrec.service.http.problems import problem_response
from rqrec.service.http.startup import failing_in_one_line
from rqrec.service.ids import Header, take_ids
from rqrec.service.telemetry import Metrics

PAGES = ("/docs", "/docs/oauth2-redirect", "/redoc")  # load their scripts and styles from elsewhere
# Keep a browser from making more of an answer than the JSON that it is.
EVERYWHERE = [
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
]
PROTECTED = [*EVERYWHERE, (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'")]
CONTROL = re.compile(rb"[\x00-\x1f\x7f]")
Observers = Sequence[Callable[[Scope, int, float], None]]


class Refusal(NamedTuple):
    """A whole answer, made without the app."""

    status: int
    headers: list[Header]
    body: bytes


class Gate:
    """Admits requests, and answers those that are refused.

    Args:
        admission: Gives out permits.
        metrics: Told of requests that ran out of time.
        observers: Each is called for every answered request: its scope, the status, and the seconds that it took.
    """

    def __init__(self, admission: Admission, metrics: Metrics, observers: Observers) -> None:
        self._admission = admission
        self._metrics = metrics
        self._observers = observers

    def admit(self, scope: Scope) -> RequestContext | Refusal:
        """The context of a request that is let in, else its answer.

        Called when the request's headers are there. So it does the work of all layers for what it refuses: what a
        refusal costs is missing from the answers.
        """
        try:
            return self._admission.admit(scope)
        except Overloaded as error:
            begin, headers = time.perf_counter(), answer_headers(scope)
            response = problem_response(error, scope["path"])
            self.observe(scope, response.status_code, time.perf_counter() - begin)
            return Refusal(response.status_code, response.raw_headers + headers, bytes(response.body))

    def note(self, error: Exception) -> None:
        """Counts a request that ended for lack of time."""
        if isinstance(error, DeadlinePassed | BodyTimeout):
            self._metrics.shed.labels("deadline").inc()

    def observe(self, scope: Scope, status: int, seconds: float) -> None:
        """Tells of an answered request."""
        for observer in self._observers:
            observer(scope, status, seconds)


class Envelope:
    """Runs every request under its context, and adds `answer_headers` to its answer. Pure ASGI.

    Args:
        app: The app.
        gate: Admits requests where the server has not done so before.
    """

    def __init__(self, app: ASGIApp, gate: Gate) -> None:
        self.app = app
        self._gate = gate

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes the request on."""
        if scope["type"] != "http":
            await self.app(scope, receive, failing_in_one_line(send))
        elif CONTEXT in scope:
            await self._answer(scope[CONTEXT], scope, receive, send)
        else:
            admitted = self._gate.admit(scope)
            if isinstance(admitted, Refusal):
                await send({"type": "http.response.start", "status": admitted.status, "headers": admitted.headers})
                await send({"type": "http.response.body", "body": admitted.body})
                return
            scope[CONTEXT] = admitted
            try:
                await self._answer(admitted, scope, receive, send)
            finally:
                admitted.release()

    async def _answer(self, context: RequestContext, scope: Scope, receive: Receive, send: Send) -> None:
        begin, status = time.perf_counter(), 0
        headers = answer_headers(scope)

        async def send_in_envelope(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], *headers]
            await send(message)

        try:
            check_path(scope)
            await context.run(self.app(scope, receive, send_in_envelope))
        except Exception as error:
            self._gate.note(error)
            if status:  # the answer has begun: the server closes the connection
                raise
            await problem_response(error, scope["path"])(scope, receive, send_in_envelope)
        finally:
            self._gate.observe(scope, status or 500, time.perf_counter() - begin)


def answer_headers(scope: Scope) -> list[Header]:
    """The headers that a request's answer has, whatever it is; the request's ids are the context's from here on."""
    return [*take_ids(scope["headers"]), *(EVERYWHERE if scope["path"] in PAGES else PROTECTED)]


def check_path(scope: Scope) -> None:
    """Lets a path pass that names one thing only.

    Raises:
        RequestValidationError: If the path is no UTF-8, where several would read alike, or has control characters.
    """
    raw_path: bytes = scope.get("raw_path") or b""
    if b"%" not in raw_path:
        return
    path = unquote_to_bytes(raw_path)
    try:
        path.decode()
    except UnicodeDecodeError as error:
        raise _invalid_path(f"must be UTF-8, percent-encoded: {error}") from error
    if CONTROL.search(path):
        raise _invalid_path("must have no control characters")


def _invalid_path(reason: str) -> RequestValidationError:
    return RequestValidationError([{"loc": ("path",), "msg": f"the path {reason}", "type": "path"}])
