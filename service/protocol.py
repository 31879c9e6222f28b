"""HTTP between the sockets and the app: uvicorn's, which here refuses early and tells the app of a client that goes."""

import functools
from collections.abc import Callable
from typing import Any

from starlette.types import Scope
from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from service.disconnect import ON_DISCONNECT
from service.shedding import Refusal


class Protocol(HttpToolsProtocol):
    """One connection.

    A refusal is written as soon as the request's headers are there, without a task and without the app: that takes a
    fifth of the time. Its body is read past.

    Args:
        refusal: The answer to a request that shall not reach the app, else None.
        uvicorn: What uvicorn gives a protocol.
    """

    def __init__(self, refusal: Callable[[Scope], Refusal | None], **uvicorn: Any) -> None:
        super().__init__(**uvicorn)
        self._refusal = refusal
        self._on_disconnect: list[Callable[[], None]] = []  # of the request that is being answered

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        scope: Scope = cycle.scope  # type: ignore[assignment]
        refusal = self._refusal(scope)
        if refusal is None:
            scope[ON_DISCONNECT] = self._on_disconnect = []
            super()._start_asgi_task(cycle, app)
            return
        headers = [*self.server_state.default_headers, *refusal.headers]
        if not cycle.keep_alive:
            headers.append((b"connection", b"close"))
        lines = b"".join(b"%b: %b\r\n" % header for header in headers)
        body = b"" if scope["method"] == "HEAD" else refusal.body
        self.transport.write(STATUS_LINE[refusal.status] + lines + b"\r\n" + body)
        cycle.response_started = cycle.response_complete = True
        if not cycle.keep_alive:
            self.transport.close()
        self.on_response_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tells whoever works for this client."""
        super().connection_lost(exc)
        for tell in self._on_disconnect:
            tell()


def protocol_with(refusal: Callable[[Scope], Refusal | None]) -> Any:
    """What `uvicorn.Config` takes as `http`."""
    return functools.partial(Protocol, refusal)
