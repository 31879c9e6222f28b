"""Parses the bytes of a connection into requests, by llhttp (httptools), with a limit on everything but bodies.

The server ignores an offered upgrade, which HTTP allows (RFC 9110, 7.8), and drops trailers. Trailers that would change
how the connection goes on are refused (RFC 9110, 6.5.1); llhttp itself refuses those about the body's length.
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
        method: HTTP method.
        url: The request's target, as it was sent.
        version: HTTP version, such as 1.1.
        headers: Headers, names in lower case.
        keep_alive: Whether the client wants to send another request on this connection.
    """

    method: bytes
    url: bytes
    version: str
    headers: list[Header]
    keep_alive: bool


class RequestHandler(Protocol):
    """Receives requests from the parser."""

    def begin_request(self, head: RequestHead) -> None:
        """Takes a request whose line and headers are complete.

        Args:
            head: Request line and headers.

        Raises:
            BadRequest: If the request is not valid; the parser then stops.
        """

    def take_body(self, data: bytes) -> None:
        """Takes a part of the body."""

    def end_request(self) -> None:
        """Takes note that the body is complete."""


class RequestParser:
    """Parses the bytes that a connection receives.

    Args:
        handler: Receives the requests.
        max_head_bytes: Largest request line with its headers, in bytes. The limit also holds for trailers, and for
            anything else outside of a body.

    Attributes:
        fault: Why nothing more can be parsed; None while parsing can go on.
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
        """Parses bytes.

        Args:
            data: Bytes as they were received.

        Returns:
            The bytes to feed again, before those that follow; most often none.
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
        """Begins a request."""
        self._url = b""
        self._headers: list[Header] = []
        self._is_head_complete = False

    def on_url(self, url: bytes) -> None:
        """Adds a part of the request's target, which is the URL in its first line."""
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Adds a header; drops a trailer, which is a header after the body.

        Args:
            name: The header's name.
            value: The header's value.
        """
        if self._is_head_complete:
            if name.lower() == b"connection":
                self.fault = BadRequest("a trailer must not be named Connection: send it as a header")
            return
        self._headers.append((name.lower(), value))
        if len(self._headers) > MAX_HEADERS:
            self.fault = HeadTooLarge(f"a request may have at most {MAX_HEADERS} headers")

    def on_headers_complete(self) -> None:
        """Hands the request to the handler: its line and headers are complete."""
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
        """Hands a part of the body to the handler."""
        self._without_progress = 0
        self._handler.take_body(data)

    def on_message_complete(self) -> None:
        """Ends the request, unless it is at fault, or its head has to be parsed again without the upgrade."""
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
