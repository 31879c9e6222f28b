"""The outermost middleware: admits requests, ends them at their deadline, adds headers to answers, and measures times.

One layer does all of this, because every layer of middleware costs time. During an overload the server calls `Gate`
directly, so that it can refuse a request without any middleware.
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
from rqrec.service.http.docs_page import PAGES, POLICY
from rqrec.service.http.problems import problem_response
from rqrec.service.http.root_path import client_path, remove_root_path
from rqrec.service.http.startup import failing_in_one_line
from rqrec.service.ids import Header, take_ids
from rqrec.service.telemetry import Metrics

# These headers keep a browser from treating JSON as a page or a script.
EVERYWHERE = [
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
]
ON_PAGES = [*EVERYWHERE, (b"content-security-policy", POLICY)]
PROTECTED = [*EVERYWHERE, (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'")]
CONTROL = re.compile(rb"[\x00-\x1f\x7f]")
Observers = Sequence[Callable[[Scope, int, float], None]]


class Refusal(NamedTuple):
    """The HTTP answer to a request that was not admitted. The app does not see such a request.

    Attributes:
        status: HTTP status.
        headers: Headers, names in lower case.
        body: The body, as problem details in JSON.
    """

    status: int
    headers: list[Header]
    body: bytes


class Gate:
    """Admits requests, which means giving each a permit, and makes the HTTP answer to a request that gets none.

    Args:
        admission: Gives permits to requests.
        metrics: Counts requests whose deadline passed.
        observers: Functions that are called for every answered request with its ASGI scope, its HTTP status, and its
            time in seconds.
        root_path: The prefix of all paths behind a proxy, such as `/rec`; see `remove_root_path`.
    """

    def __init__(self, admission: Admission, metrics: Metrics, observers: Observers, *, root_path: str = "") -> None:
        self._admission = admission
        self._root_path = root_path
        self._metrics = metrics
        self._observers = observers

    def admit(self, scope: Scope) -> RequestContext | Refusal:
        """Admits a request, or makes the HTTP answer that refuses it.

        The server calls this when it begins a request: the headers of the request have arrived, and the earlier
        requests of its connection are answered. The answer to a refused request passes through no middleware.
        Therefore this method adds to it the headers that every answer gets, and calls the observers, which count and
        log answered requests.

        Args:
            scope: The request's ASGI scope. The root path is removed from its `path`.

        Returns:
            The context of the request if it is admitted, else the whole answer.
        """
        remove_root_path(scope, self._root_path)
        try:
            return self._admission.admit(scope)
        except Overloaded as error:
            begin, headers = time.perf_counter(), answer_headers(scope)
            response = problem_response(error, client_path(scope))
            self.observe(scope, response.status_code, time.perf_counter() - begin)
            return Refusal(response.status_code, response.raw_headers + headers, bytes(response.body))

    def count_deadline(self, error: Exception) -> None:
        """Counts a failed request in the metrics if it failed because a time limit passed; ignores other errors."""
        if isinstance(error, DeadlinePassed | BodyTimeout):
            self._metrics.shed.labels("deadline").inc()

    def observe(self, scope: Scope, status: int, seconds: float) -> None:
        """Calls all observers, the functions that count and log an answered request.

        Args:
            scope: The request's ASGI scope.
            status: HTTP status of the answer.
            seconds: Time that the answer took, in seconds.
        """
        for observer in self._observers:
            observer(scope, status, seconds)


class Envelope:
    """The outermost ASGI middleware: limits the time of every request, and adds headers to every answer.

    It awaits the app in `RequestContext.run`, which cancels the app when the request's deadline passes or its client
    has gone. It also answers errors of the app, and measures the time of every answer.

    Args:
        app: The ASGI app that this middleware wraps.
        gate: Admits requests that the server has not admitted yet: all requests under plain uvicorn and in tests.
    """

    def __init__(self, app: ASGIApp, gate: Gate) -> None:
        self.app = app
        self._gate = gate

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one HTTP request. Passes the events of the ASGI lifespan to the app.

        Args:
            scope: ASGI scope.
            receive: ASGI's `receive`.
            send: ASGI's `send`.
        """
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
                message["headers"] = with_general(message["headers"], headers)
            await send(message)

        try:
            check_path(scope)
            await context.run(self.app(scope, receive, send_in_envelope))
        except Exception as error:
            self._gate.count_deadline(error)
            if status:  # the answer has begun, so the server has to close the connection
                raise
            await problem_response(error, client_path(scope))(scope, receive, send_in_envelope)
        finally:
            self._gate.observe(scope, status or 500, time.perf_counter() - begin)


def answer_headers(scope: Scope) -> list[Header]:
    """Returns the headers that every answer gets: its request id and trace id, and security headers for browsers.

    Also stores the two ids, so that the log lines of the request contain them.
    """
    return [*take_ids(scope["headers"]), *(ON_PAGES if scope["path"] in PAGES else PROTECTED)]


def with_general(own: Sequence[Header], general: Sequence[Header]) -> list[Header]:
    """Adds the headers that every answer gets to those of one answer, except for those that it has already.

    >>> with_general([(b"cache-control", b"private")], [(b"cache-control", b"no-store"), (b"x-request-id", b"7")])
    [(b'cache-control', b'private'), (b'x-request-id', b'7')]

    Args:
        own: The headers of the answer.
        general: The headers of every answer.
    """
    names = {name for name, _ in own}
    return [*own, *(header for header in general if header[0] not in names)]


def check_path(scope: Scope) -> None:
    """Checks that the path of a request is valid text.

    Args:
        scope: ASGI scope of the request.

    Raises:
        RequestValidationError: If the path is not percent-encoded UTF-8, or contains a control character.
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
        raise _invalid_path("must not have control characters")


def _invalid_path(reason: str) -> RequestValidationError:
    return RequestValidationError([{"loc": ("path",), "msg": f"the path {reason}", "type": "path"}])
