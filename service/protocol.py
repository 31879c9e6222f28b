"""HTTP between the sockets and the app: uvicorn's, with what an overloaded machine has no time to do twice.

Differs from uvicorn: what shall not reach the app is refused as soon as its headers are there, without a task; a whole
answer is one write; and who works for a client learns that it has gone without a task that waits for it.
"""

import functools
import re
from collections.abc import Callable, Sequence
from typing import Any

from starlette.types import Scope
from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from service.disconnect import CALLER, Caller
from service.envelope import WRITE
from service.ids import Header
from service.shedding import Refusal

CLOSE = (b"connection", b"close")
LINE_BREAK = re.compile(rb"[\r\n]")


class Protocol(HttpToolsProtocol):
    """One connection.

    Args:
        refusal: The answer to a request that shall not reach the app, else None; the request's body is read past.
        uvicorn: What uvicorn gives a protocol.
    """

    def __init__(self, refusal: Callable[[Scope], Refusal | None], **uvicorn: Any) -> None:
        super().__init__(**uvicorn)
        self._refusal = refusal
        # Of the request that is being answered. A request's scope may not lead back to its cycle: what refers to itself
        # waits for the garbage collector.
        self._answering: RequestResponseCycle | None = None
        self._caller: Caller | None = None

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        scope: Scope = cycle.scope  # type: ignore[assignment]
        refusal = self._refusal(scope)
        if refusal is not None:
            self._write(cycle, *refusal)
            return
        self._answering = cycle
        scope[WRITE] = self._write_whole
        scope[CALLER] = self._caller = Caller()
        super()._start_asgi_task(cycle, app)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tells whoever works for this client."""
        super().connection_lost(exc)
        if self._caller is not None:
            self._caller.go()

    def _write_whole(self, status: int, headers: Sequence[Header], body: bytes) -> bool:
        """See `service.envelope.WRITE`."""
        cycle = self._answering
        assert cycle is not None
        length = (b"content-length", str(len(body)).encode())
        if self.flow.write_paused or cycle.disconnected or length not in headers:
            return False
        if LINE_BREAK.search(b"".join([value for _, value in headers])):
            raise RuntimeError("a line break in a header")
        self._write(cycle, status, headers, body)
        return True

    def _write(self, cycle: RequestResponseCycle, status: int, headers: Sequence[Header], body: bytes) -> None:
        headers = [*self.server_state.default_headers, *headers]
        # Who has been promised nothing (Expect: 100-continue) may send the body or not: what comes next is unknown.
        closes = not cycle.keep_alive or cycle.waiting_for_100_continue or CLOSE in headers
        if closes and CLOSE not in headers:
            headers.append(CLOSE)
        lines = b"".join([b"%b: %b\r\n" % header for header in headers])
        if cycle.scope["method"] == "HEAD":
            body = b""
        self.transport.write(STATUS_LINE[status] + lines + b"\r\n" + body)
        cycle.response_started = cycle.response_complete = True
        cycle.message_event.set()
        if closes:
            self.transport.close()
        self.on_response_complete()


def protocol_with(refusal: Callable[[Scope], Refusal | None]) -> Any:
    """What `uvicorn.Config` takes as `http`."""
    return functools.partial(Protocol, refusal)
