"""One request and its answer, as ASGI sees them."""

import asyncio
import logging
import re
from http import HTTPStatus
from typing import Protocol

from starlette.types import ASGIApp, Message, Scope

from rqrec.service.ids import Header

STATUS_LINES = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus}
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
LINE_BREAK = re.compile(rb"[\r\n\0]")
CLOSE = (b"connection", b"close")
BODILESS = (204, 304)
HIGH_WATER_BYTES = 65_536  # of a body that the app has not read yet
logger = logging.getLogger("rqrec")


class Wire(Protocol):
    """What an exchange needs of its connection."""

    def write(self, data: bytes) -> None:
        """Sends bytes."""

    async def drain(self) -> None:
        """Returns once the client has read what was sent before, or has gone."""

    def resume_reading(self) -> None:
        """Goes on reading, for the body so far was taken."""

    def finish(self, exchange: "Exchange") -> None:
        """The answer is complete."""

    def abort(self) -> None:
        """Closes at once: the answer cannot be completed."""

    @property
    def default_headers(self) -> list[Header]:
        """Headers of every answer."""


class Exchange:
    """Gives an ASGI app `receive` and `send` for one request.

    The start of an answer is held back until its first part of a body, so that most answers are one write.

    Args:
        scope: The request.
        wire: Its connection.
        keep_alive: Whether the connection may serve another request afterwards.
        expects_continue: Whether the client waits for 100 Continue before it sends its body.

    Attributes:
        is_body_complete: Whether all of the body has arrived.
        is_complete: Whether all of the answer was handed to the connection.
    """

    __slots__ = (
        "_body", "_expects_continue", "_gone", "_held", "_is_chunked", "_left", "_waiter", "_wire", "is_body_complete",
        "is_complete", "keep_alive", "scope", "started",
    )  # fmt: skip

    def __init__(self, scope: Scope, wire: Wire, *, keep_alive: bool, expects_continue: bool) -> None:
        self.scope = scope
        self.keep_alive = keep_alive
        self.is_body_complete = self.is_complete = self.started = False
        self._wire = wire
        self._expects_continue = expects_continue
        self._gone = self._is_chunked = False
        self._body: bytes | bytearray = b""
        self._left: int | None = None  # bytes that the announced length still wants
        self._held: Message | None = None
        self._waiter: asyncio.Future[None] | None = None

    async def run(self, app: ASGIApp) -> None:
        """Lets the app answer; an answer that it owes is 500 or a closed connection."""
        try:
            await app(self.scope, self.receive, self.send)
        except Exception:
            logger.exception("the app failed outside of its own error handling")
        if self.is_complete or self._gone:
            return
        if self.started:
            self._wire.abort()
        else:
            self.answer(500, [(b"content-length", b"0"), CLOSE], b"")

    def answer(self, status: int, headers: list[Header], body: bytes) -> None:
        """A whole answer at once."""
        self._write_body(body, is_last=True, head=self._start(status, headers))

    async def receive(self) -> Message:
        """See ASGI: the next part of the body, or the client's disconnect."""
        if self._expects_continue and not self.started:
            self._expects_continue = False
            self._wire.write(CONTINUE)
        while not (self._body or self.is_body_complete or self._gone or self.is_complete):
            self._wire.resume_reading()
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        if self._gone or self.is_complete:
            return {"type": "http.disconnect"}
        body, self._body = bytes(self._body), b""
        return {"type": "http.request", "body": body, "more_body": not self.is_body_complete}

    async def send(self, message: Message) -> None:
        """See ASGI: the start of the answer, then the parts of its body."""
        await self._wire.drain()
        if self._gone:
            return
        kind = message["type"]
        if kind == "http.response.start" and not self.started and self._held is None:
            self._held = message
            return
        if kind != "http.response.body" or self.is_complete or (self._held is None and not self.started):
            raise RuntimeError(f"the ASGI message {kind!r} does not come now")
        head = b""
        if self._held is not None:
            status, headers = self._held["status"], list(self._held.get("headers", ()))
            self._held = None
            head = self._start(status, headers)
        self._write_body(message.get("body", b""), is_last=not message.get("more_body", False), head=head)

    def feed(self, data: bytes) -> None:
        """A part of the body has arrived; after the answer nobody wants it."""
        if not self.is_complete:
            self._body = self._body + data if self._body else data
            self._wake()

    @property
    def is_full(self) -> bool:
        """Whether the app has enough to read for now."""
        return len(self._body) > HIGH_WATER_BYTES

    def feed_end(self) -> None:
        """All of the body has arrived."""
        self.is_body_complete = True
        self._wake()

    def disconnect(self) -> None:
        """The client has gone."""
        self._gone = True
        self._wake()

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def _start(self, status: int, headers: list[Header]) -> bytes:
        """The answer's head; decides how its body ends: by its length, by chunks or by the connection's end."""
        length = None
        for name, value in headers:
            if name == b"content-length":
                length = int(value)
            elif name == b"connection" and b"close" in value.lower():
                self.keep_alive = False
        if self._expects_continue:  # the client may send its body or not: what comes next is unknown
            self.keep_alive = False
        if self.scope["method"] == "HEAD" or status in BODILESS:
            self._left = 0
        elif length is not None:
            self._left = length
        elif self.scope["http_version"] == "1.1":
            self._is_chunked = True
            headers = [*headers, (b"transfer-encoding", b"chunked")]
        else:
            self.keep_alive = False
        headers = [*self._wire.default_headers, *headers]
        if CLOSE in headers:
            self.keep_alive = False
        elif not self.keep_alive:
            headers.append(CLOSE)
        if LINE_BREAK.search(b"".join([part for header in headers for part in header])):
            raise RuntimeError("a line break in a header of the answer")
        self.started = True
        return STATUS_LINES[status] + b"".join([b"%b: %b\r\n" % header for header in headers]) + b"\r\n"

    def _write_body(self, body: bytes, *, is_last: bool, head: bytes) -> None:
        if self.scope["method"] == "HEAD":
            body = b""
        elif self._is_chunked:
            body = b"%x\r\n%b\r\n" % (len(body), body) if body else b""
            if is_last:
                body += b"0\r\n\r\n"
        elif self._left is not None:
            self._left -= len(body)
            if self._left < 0 or (is_last and self._left):
                raise RuntimeError("the answer's body is not as long as its content-length says")
        self._wire.write(head + body)
        if is_last:
            self.is_complete = True
            self._wake()
            self._wire.finish(self)
