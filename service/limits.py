"""Middleware that refuses requests before they cost anything: too large ones, and all of them in an overload."""

from collections.abc import Callable

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.errors import OVERLOADED, TOO_LARGE, Overloaded, problem_response

NEVER_SHED = ("/healthz", "/readyz", "/metrics")  # or an overload would blind and kill the service


class OverloadMiddleware:
    """Answers 429 to every request, probes and metrics apart, while the queue before the search is full. Pure ASGI.

    Args:
        app: The app.
        overloaded: The error while it is so, else None.
    """

    def __init__(self, app: ASGIApp, overloaded: Callable[[], Overloaded | None]) -> None:
        self.app = app
        self.overloaded = overloaded

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes the request on unless there are too many."""
        if scope["type"] == "http" and scope["path"] not in NEVER_SHED and (error := self.overloaded()) is not None:
            response = problem_response(OVERLOADED, str(error), scope["path"])
            response.headers["Retry-After"] = str(error.retry_after_s)
            await response(scope, receive, send)
        else:
            await self.app(scope, receive, send)


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
