"""Parses the bytes of a connection into requests, by llhttp (package httptools).

Limits the size of everything outside of bodies. The size of bodies is limited where they are read.

If a client offers an upgrade to another protocol, the offer is ignored, which HTTP allows (RFC 9110, 7.8). Trailers
(headers after the body) are dropped. A trailer with the name Connection is an error, because a trailer must not change
how the connection is used (RFC 9110, 6.5.1). llhttp itself refuses trailers about the length of the body.
"""

from typing import Any, NamedTuple, Protocol

import httptools

from rqrec.service.errors import BadRequest, HeadTooLarge
from rqrec.service.ids import Header

MAX_HEADERS = 100
UPGRADE_HEADERS = (b"upgrade", b"http2-settings")


class RequestHead(NamedTuple):
    """The request line and the headers of a request.

    Attributes:
        method: HTTP method.
        url: The URL in the request line as the client sent it, such as `/items/1?x=2`.
        version: HTTP version, such as 1.1.
        headers: Headers, names in lower case.
        keep_alive: Whether the client may send another request on this connection: true for HTTP/1.1, unless the client
            has sent `connection: close`.
    """

    method: bytes
    url: bytes
    version: str
    headers: list[Header]
    keep_alive: bool


class RequestHandler(Protocol):
    """Interface of the object to which `RequestParser` passes the parsed requests."""

    def begin_request(self, head: RequestHead) -> None:
        """Called when the request line and all headers of a request have arrived.

        Args:
            head: The request line and the headers.

        Raises:
            BadRequest: If the request is not valid. The parser stores this error in `RequestParser.fault`, and passes
                on no further request.
        """

    def take_body(self, data: bytes) -> None:
        """Called with each part of the request's body."""

    def end_request(self) -> None:
        """Called when the whole body of the request has arrived."""


class RequestParser:
    """Parses the bytes that one connection receives, and passes the requests to a handler.

    Args:
        handler: The object that gets the parsed requests.
        max_head_bytes: Largest size of the request line and the headers together, in bytes. The limit also holds for
            trailers (headers after the body), and for all other bytes outside of a body.

    Attributes:
        fault: An error after which nothing more can be parsed; None as long as there is no error.
    """

    def __init__(self, handler: RequestHandler, max_head_bytes: int) -> None:
        self.fault: Exception | None = None
        self._handler = handler
        self._max_head_bytes = max_head_bytes
        self._without_progress = 0  # bytes since the last complete head, part of a body, or end of a request
        self._head_again = b""
        self._parser = self._new_parser()
        self.on_message_begin()

    def feed(self, data: bytes) -> bytes:
        """Parses received bytes, and calls the handler for everything that is complete.

        After an error it sets `RequestParser.fault`.

        Args:
            data: The next bytes of the connection.

        Returns:
            Bytes that have still to be parsed; usually none. The caller must pass them to the next call, before any new
            bytes. They are headers that offered an upgrade to another protocol, now without the offer, and what came
            after them in `data`.
        """
        left = b""
        self._without_progress += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            left = self._head_again + data[upgrade.args[0] :]
            self._head_again, self._parser = b"", self._new_parser()
        except httptools.HttpParserError as error:
            self.fault = self.fault or BadRequest(f"expected HTTP/1.1, got other bytes: {error}")
        if self._without_progress > self._max_head_bytes and self.fault is None:
            self.fault = HeadTooLarge(f"a request's line and headers may have at most {self._max_head_bytes} bytes")
        return left

    # llhttp calls these.

    def on_message_begin(self) -> None:
        """Called by llhttp at the first byte of a request: forgets the URL and the headers of the request before."""
        self._url = b""
        self._headers: list[Header] = []
        self._is_head_complete = False

    def on_url(self, url: bytes) -> None:
        """Called by llhttp with each part of the URL in the request line: stores it."""
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Called by llhttp with each header: stores it. Drops trailers, which are headers after the body.

        Args:
            name: The name of the header.
            value: The value of the header.
        """
        if self._is_head_complete:
            if name.lower() == b"connection":
                self.fault = BadRequest("a trailer must not be named Connection: send it as a header")
            return
        self._headers.append((name.lower(), value))
        if len(self._headers) > MAX_HEADERS:
            self.fault = HeadTooLarge(f"a request may have at most {MAX_HEADERS} headers")

    def on_headers_complete(self) -> None:
        """Called by llhttp when all headers have arrived: passes the request line and the headers to the handler.

        If the headers offer an upgrade to another protocol, it does not pass them on: `RequestParser.feed` returns
        them without the offer, to be parsed again.
        """
        self._is_head_complete = True
        self._without_progress = 0
        method = self._parser.get_method()
        if self.fault is not None:
            return
        if method == b"CONNECT":
            self.fault = BadRequest("the method CONNECT is for proxies, and this server is not one")
        elif self._parser.should_upgrade():
            # llhttp stops here, and would leave the body to another protocol. So the parser reads the same head again
            # without the offer to upgrade, and the body stays a part of this request.
            version = self._parser.get_http_version()
            self._head_again = _without_upgrade(method, self._url, version, self._headers)
        else:
            version = self._parser.get_http_version()
            keep_alive = version == "1.1" and self._parser.should_keep_alive()
            try:
                self._handler.begin_request(RequestHead(method, self._url, version, self._headers, keep_alive))
            except BadRequest as error:
                self.fault = error

    def on_body(self, data: bytes) -> None:
        """Called by llhttp with each part of a body: passes the part to the handler."""
        self._without_progress = 0
        self._handler.take_body(data)

    def on_message_complete(self) -> None:
        """Called by llhttp when a request is complete: tells the handler.

        Does nothing after an error. Also does nothing if the headers offered an upgrade to another protocol. llhttp
        ends such a request after its headers, but they are parsed again without the offer, and the body follows.
        """
        self._without_progress = 0
        if not self._head_again and self.fault is None:
            self._handler.end_request()

    def _new_parser(self) -> Any:
        parser = httptools.HttpRequestParser(self)
        parser.set_dangerous_leniencies(lenient_data_after_close=True)
        return parser


def _without_upgrade(method: bytes, url: bytes, version: str, headers: list[Header]) -> bytes:
    """A request's line and headers as bytes, without the offer to upgrade."""
    lines = [b"%b %b HTTP/%b\r\n" % (method, url, version.encode())]
    for name, value in headers:
        kept = value
        if name == b"connection":
            tokens = [token.strip() for token in value.split(b",")]
            kept = b", ".join([token for token in tokens if token.lower() not in UPGRADE_HEADERS])
        if name not in UPGRADE_HEADERS and (kept or name != b"connection"):
            lines.append(b"%b: %b\r\n" % (name, kept))
    return b"".join(lines) + b"\r\n"
