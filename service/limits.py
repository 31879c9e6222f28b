"""Middleware that refuses requests before they cost anything: too large ones, and all of them in an overload."""

import time
from collections.abc import Callable, Sequence

from asgi_correlation_id import correlation_id
from asgi_correlation_id.middleware import is_valid_uuid4
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.errors import OVERLOADED, TOO_LARGE, Overloaded, problem_response
from service.ids import random_id
from service.security_headers import SECURITY_HEADERS

REQUEST_ID_HEADER = b"x-request-id"
NEVER_SHED = ("/healthz", "/readyz", "/metrics")  # or an overload would blind and kill the service


class Shedding:
    """Answers 429 to every request, probes and metrics apart, while the queue before the search is full. Pure ASGI.

    To stand around all middleware, and so it does their work for what it refuses: what a refusal costs in an overload
    is missing from the answers.

    Args:
        app: The app.
        overloaded: The error while it is so, else None.
        told: As `service.telemetry.MeasuringMiddleware` tells of answered requests.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        overloaded: Callable[[], Overloaded | None],
        told: Sequence[Callable[[Scope, int, float], None]],
    ) -> None:
        self.app = app
        self.overloaded = overloaded
        self.told = told

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes the request on unless there are too many."""
        if scope["type"] != "http" or scope["path"] in NEVER_SHED or (error := self.overloaded()) is None:
            await self.app(scope, receive, send)
            return
        begin, request_id = time.perf_counter(), _request_id(scope)
        correlation_id.set(request_id)
        response = problem_response(OVERLOADED, str(error), scope["path"])
        retry_after = (b"retry-after", str(error.retry_after_s).encode())
        response.raw_headers += [retry_after, (REQUEST_ID_HEADER, request_id.encode()), *SECURITY_HEADERS]
        await response(scope, receive, send)
        for tell in self.told:
            tell(scope, OVERLOADED.status, time.perf_counter() - begin)


def _request_id(scope: Scope) -> str:
    """The one that the client gave, if it is one, else a new one."""
    given = next((value.decode("latin-1") for name, value in scope["headers"] if name == REQUEST_ID_HEADER), None)
    return given if given is not None and is_valid_uuid4(given) else random_id().hex


class BodyLimitMiddleware:
    """Answers 413 where a body announces, or turns out to have, more than `max_bytes`. Pure ASGI."""

    def __init__(self, app: ASGIApp, max_bytes: int) -> None:
        self.app = app
        self.max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes the request on unless its body is too large."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        announced = Headers(scope=scope).get("content-length", "0")
        if announced.isdigit() and int(announced) > self.max_bytes:
            await self._refuse(scope, receive, send)
            return
        received = 0

        async def receive_counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            # The rest is not read: to the app it is as if the client had gone.
            return {"type": "http.disconnect"} if received > self.max_bytes else message

        async def send_unless_too_large(message: Message) -> None:
            if received <= self.max_bytes:
                await send(message)

        try:
            await self.app(scope, receive_counted, send_unless_too_large)
        except ClientDisconnect:
            if received <= self.max_bytes:
                raise
        if received > self.max_bytes:
            await self._refuse(scope, receive, send)

    async def _refuse(self, scope: Scope, receive: Receive, send: Send) -> None:
        detail = f"a request body may have at most {self.max_bytes} bytes"
        await problem_response(TOO_LARGE, detail, scope["path"])(scope, receive, send)
