"""Bytes of a connection → requests, by llhttp (httptools), with a bound on what is neither a body nor told of.

An upgrade is not taken, which HTTP allows (RFC 9110, 7.8), and trailers mean nothing here.
"""

from typing import Any, NamedTuple, Protocol

import httptools

from rqrec.service.errors import BadRequest, HeadTooLarge
from rqrec.service.ids import Header

MAX_HEADERS = 100
UPGRADE_HEADERS = (b"upgrade", b"http2-settings")


class RequestHead(NamedTuple):
    """A request's line and headers.

    Attributes:
        method: Of HTTP.
        url: The request's target, as it came.
        version: Of HTTP, such as 1.1.
        headers: Names in lower case.
        keep_alive: Whether the client wants to send another request on this connection.
    """

    method: bytes
    url: bytes
    version: str
    headers: list[Header]
    keep_alive: bool


class RequestHandler(Protocol):
    """Who is told of requests."""

    def begin_request(self, head: RequestHead) -> None:
        """A request's head is complete.

        Raises:
            BadRequest: If nothing more is to be parsed.
        """

    def take_body(self, data: bytes) -> None:
        """A part of its body."""

    def end_request(self) -> None:
        """All of its body was told of."""


class RequestParser:
    """Parses what a connection receives.

    Args:
        handler: Is told of requests.
        max_head_bytes: Of a line with its headers; also of trailers and of whatever else is no body.

    Attributes:
        fault: Why nothing more can be parsed; None where more can.
    """

    def __init__(self, handler: RequestHandler, max_head_bytes: int) -> None:
        self.fault: Exception | None = None
        self._handler = handler
        self._max_head_bytes = max_head_bytes
        self._without_progress = 0  # bytes since a request's head, a part of its body, or its end
        self._head_again = b""
        self._parser = self._new_parser()
        self.on_message_begin()

    def feed(self, data: bytes) -> bytes:
        """Parses bytes; returns those that are to be fed again, before what follows them."""
        left = b""
        self._without_progress += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            left = self._head_again + data[upgrade.args[0] :]
            self._head_again, self._parser = b"", self._new_parser()
        except httptools.HttpParserError as error:
            self.fault = self.fault or BadRequest(f"this is not HTTP/1.1: {error}")
        if self._without_progress > self._max_head_bytes and self.fault is None:
            self.fault = HeadTooLarge(f"a request's line and headers may have at most {self._max_head_bytes} bytes")
        return left

    # What llhttp calls.

    def on_message_begin(self) -> None:
        """A request begins."""
        self._url = b""
        self._headers: list[Header] = []
        self._is_head_complete = False

    def on_url(self, url: bytes) -> None:
        """A part of its target."""
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header; after the body has begun, a trailer."""
        if self._is_head_complete:
            return
        self._headers.append((name.lower(), value))
        if len(self._headers) > MAX_HEADERS:
            self.fault = HeadTooLarge(f"a request may have at most {MAX_HEADERS} headers")

    def on_headers_complete(self) -> None:
        """The head is there."""
        self._is_head_complete = True
        self._without_progress = 0
        method = self._parser.get_method()
        if self.fault is not None:
            return
        if method == b"CONNECT":
            self.fault = BadRequest("CONNECT is for proxies, and this is none")
        elif self._parser.should_upgrade():
            # llhttp gives up the connection here and takes the body for another protocol's. The same head without the
            # offer is parsed in its place, so that the body stays this request's.
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
        """A part of the body."""
        self._without_progress = 0
        self._handler.take_body(data)

    def on_message_complete(self) -> None:
        """The request is whole, or its offer of an upgrade is."""
        self._without_progress = 0
        if not self._head_again:
            self._handler.end_request()

    def _new_parser(self) -> Any:
        parser = httptools.HttpRequestParser(self)
        parser.set_dangerous_leniencies(lenient_data_after_close=True)
        return parser


def _without_upgrade(method: bytes, url: bytes, version: str, headers: list[Header]) -> bytes:
    """A request's head again, without its offer to speak another protocol."""
    lines = [b"%b %b HTTP/%b\r\n" % (method, url, version.encode())]
    for name, value in headers:
        kept = value
        if name == b"connection":
            tokens = [token.strip() for token in value.split(b",")]
            kept = b", ".join([token for token in tokens if token.lower() not in UPGRADE_HEADERS])
        if name not in UPGRADE_HEADERS and (kept or name != b"connection"):
            lines.append(b"%b: %b\r\n" % (name, kept))
    return b"".join(lines) + b"\r\n"
