"""One HTTP request and its answer: implements ASGI's `receive` and `send`."""

import asyncio
import logging
from http import HTTPStatus
from typing import Protocol

from starlette.types import ASGIApp, Message, Scope

from rqrec.service.ids import Header

STATUS_LINES = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus}
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
CLOSE = (b"connection", b"close")
BODILESS = (204, 304)
DROPPED_BYTES = 2 << 20  # of a body that is no longer needed; if it is longer, the connection closes
HIGH_WATER_BYTES = 65_536  # of a body that waits for the app to read it
logger = logging.getLogger("rqrec")


class ExchangeTransport(Protocol):
    """Interface of a connection, as far as `Exchange` (one HTTP request and its answer) calls it."""

    @property
    def default_headers(self) -> list[Header]:
        """Headers that are added to every answer, such as the date."""

    @property
    def is_write_paused(self) -> bool:
        """Whether the client is too slow in reading its answers, so that nothing more may be written now."""

    def write(self, data: bytes) -> None:
        """Sends bytes to the client."""

    async def drain(self) -> None:
        """Waits until the client has read enough that more may be written, or has closed the connection."""

    def read_more(self) -> None:
        """Continues to read the request's body. Called when the app waits for the next part of it."""

    def finish(self, exchange: "Exchange") -> None:
        """Called when the answer of `exchange` is complete: starts the next request, or closes the connection."""

    def abort(self) -> None:
        """Closes the connection at once. Called when the answer cannot be completed."""


class Exchange:
    """One HTTP request and its answer: implements ASGI's `receive` and `send`.

    The status and the headers of an answer are sent together with the first part of its body. So most answers need only
    one write to the socket.

    Args:
        scope: The request's ASGI scope.
        transport: The connection.
        keep_alive: Whether the connection may serve another request afterwards.
        expects_continue: Whether the client waits for `100 Continue` before it sends its body.
        is_chunked: Whether the request's body has the transfer coding chunked.
        body_bytes: The request's content-length; 0 if there is none.

    Attributes:
        scope: The request's ASGI scope.
        keep_alive: Whether the connection may serve another request afterwards.
        is_chunked: Whether the request's body has the transfer coding chunked.
        is_body_complete: Whether the whole request body has arrived.
        is_complete: Whether the whole answer was handed to the connection.
        started: Whether the first bytes of the answer were handed to the connection.
    """

    __slots__ = (
        "_answers_in_chunks", "_body", "_expects_continue", "_gone", "_has_more", "_has_short_body", "_held", "_left",
        "_transport", "_waiter", "is_body_complete", "is_chunked", "is_complete", "keep_alive", "scope", "started",
    )  # fmt: skip

    def __init__(
        self,
        scope: Scope,
        transport: ExchangeTransport,
        *,
        keep_alive: bool,
        expects_continue: bool = False,
        is_chunked: bool = False,
        body_bytes: int = 0,
    ) -> None:
        self.scope = scope
        self.keep_alive = keep_alive
        self.is_chunked = is_chunked
        self._has_short_body = not is_chunked and body_bytes <= DROPPED_BYTES
        self.is_body_complete = self.is_complete = self.started = False
        self._transport = transport
        self._expects_continue = expects_continue
        self._gone = self._answers_in_chunks = False
        self._body: bytes | bytearray = b""
        self._has_more = True  # whether the app still has to be told of the body, or of its end
        self._left: int | None = None  # bytes of the answer that its content-length still announces
        self._held: Message | None = None
        self._waiter: asyncio.Future[None] | None = None

    async def run(self, app: ASGIApp) -> None:
        """Runs an ASGI app for this request.

        If the app ends before it has sent anything, the client gets status 500. If it ends after a part of the answer,
        the connection is closed, so that the client sees that the answer is not complete.

        Args:
            app: The ASGI app.
        """
        try:
            await app(self.scope, self.receive, self.send)
        except Exception:
            logger.exception("the ASGI app raised an error instead of answering")
        if self.is_complete or self._gone:
            return
        if self.started:
            self._transport.abort()
        else:
            self.answer(500, [(b"content-length", b"0"), CLOSE], b"")

    def answer(self, status: int, headers: list[Header], body: bytes) -> None:
        """Sends a whole answer at once.

        Args:
            status: HTTP status code.
            headers: Headers, names in lower case.
            body: The whole body.
        """
        self._write_body(body, is_last=True, head=self._start(status, headers))

    async def receive(self) -> Message:
        """ASGI's `receive`: returns the next part of the request's body.

        A call after the last part waits until the answer is complete or the client has closed the connection. Then it
        returns `http.disconnect`.
        """
        if self._expects_continue and not self.started:
            self._expects_continue = False
            self._transport.write(CONTINUE)
        while not (self._gone or self.is_complete or (self._has_more and (self._body or self.is_body_complete))):
            if self._has_more:
                self._transport.read_more()
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        if self._gone or self.is_complete:
            return {"type": "http.disconnect"}
        body, self._body = bytes(self._body), b""
        self._has_more = not self.is_body_complete
        return {"type": "http.request", "body": body, "more_body": self._has_more}

    async def send(self, message: Message) -> None:
        """ASGI's `send`: sends the status and the headers of the answer, then the parts of its body.

        Args:
            message: ASGI message of type http.response.start or http.response.body.

        Raises:
            RuntimeError: If the message is not one that ASGI allows at this moment, if a header contains a line break,
                or if the body is not as long as its content-length.
        """
        if self._transport.is_write_paused:
            await self._transport.drain()
        if self._gone:
            return
        kind = message["type"]
        if kind == "http.response.start" and not self.started and self._held is None:
            self._held = message
            return
        if kind != "http.response.body" or self.is_complete or (self._held is None and not self.started):
            raise RuntimeError(
                f"expected http.response.start once and then http.response.body, got {kind!r} out of order: fix the app"
            )
        head = b""
        if self._held is not None:
            status, headers = self._held["status"], list(self._held.get("headers", ()))
            self._held = None
            head = self._start(status, headers)
        self._write_body(message.get("body", b""), is_last=not message.get("more_body", False), head=head)

    def feed(self, data: bytes) -> None:
        """Stores a received part of the request's body until `Exchange.receive` returns it to the app.

        Drops the part if the answer is already complete.
        """
        if not self.is_complete:
            self._body = self._body + data if self._body else data
            self._wake()

    @property
    def is_full(self) -> bool:
        """Whether more than HIGH_WATER_BYTES of the request's body wait for the app. Then no more bytes are parsed."""
        return len(self._body) > HIGH_WATER_BYTES

    def feed_end(self) -> None:
        """Marks the request's body as complete. Called when its last byte has arrived."""
        self.is_body_complete = True
        self._wake()

    def disconnect(self) -> None:
        """Makes `Exchange.receive` return `http.disconnect`. Called when the client has closed the connection."""
        self._gone = True
        self._wake()

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def _start(self, status: int, headers: list[Header]) -> bytes:
        """The answer's head. Decides how its body ends: by content-length, by chunks, or by closing the connection."""
        length = None
        for name, value in headers:
            if name == b"content-length":
                length = int(value)
            elif name == b"connection" and b"close" in value.lower():
                self.keep_alive = False
        # The rest of a body is parsed to find the next request, which is not worth it for a long one. After an
        # expectation that was not met, the next bytes may be the body or a new request: nobody can tell.
        if self._expects_continue or not (self.is_body_complete or self._has_short_body):
            self.keep_alive = False
        if self.scope["method"] == "HEAD" or status in BODILESS:
            self._left = 0
        elif length is not None:
            self._left = length
        elif self.scope["http_version"] == "1.1":
            self._answers_in_chunks = True
            headers = [*headers, (b"transfer-encoding", b"chunked")]
        else:
            self.keep_alive = False
        headers = [*self._transport.default_headers, *headers]
        if CLOSE in headers:
            self.keep_alive = False
        elif not self.keep_alive:
            headers.append(CLOSE)
        lines = b"".join([b"%b: %b\r\n" % header for header in headers])
        if lines.count(b"\n") != len(headers) or lines.count(b"\r") != len(headers) or b"\0" in lines:
            raise RuntimeError(
                "expected header values of one line, got a line break in a header of the answer: fix the app"
            )
        self.started = True
        return STATUS_LINES[status] + lines + b"\r\n"

    def _write_body(self, body: bytes, *, is_last: bool, head: bytes) -> None:
        if self.scope["method"] == "HEAD":
            body = b""
        elif self._answers_in_chunks:
            body = b"%x\r\n%b\r\n" % (len(body), body) if body else b""
            if is_last:
                body += b"0\r\n\r\n"
        elif self._left is not None:
            self._left -= len(body)
            if self._left < 0 or (is_last and self._left):
                raise RuntimeError("expected a body as long as its content-length, got another length: fix the app")
        self._transport.write(head + body)
        if is_last:
            self.is_complete = True
            self._body = b""  # no app reads it any more; if it stayed full, nothing more would be parsed
            self._wake()
            self._transport.finish(self)
