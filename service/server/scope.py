"""Makes the ASGI scope of a request from its request line and headers."""

from typing import Any
from urllib.parse import unquote

import httptools
from starlette.types import Scope

from rqrec.service.errors import BadRequest, UnknownCoding
from rqrec.service.server.request_parser import RequestHead


def scope_of(head: RequestHead, *, addresses: dict[str, Any], state: dict[str, Any]) -> Scope:
    """Makes the ASGI scope of a request.

    Args:
        head: The request line and the headers.
        addresses: The values of the keys `client` and `server` of the scope.
        state: The state of the ASGI lifespan. The scope gets a copy of it.

    Raises:
        UnknownCoding: If the body has a transfer coding other than `chunked`.
        BadRequest: If the URL in the request line has no path, if there are several Host headers, or if an HTTP/1.1
            request has no Host header (RFC 9112, 3.2).
    """
    hosts = sum(name == b"host" for name, _ in head.headers)
    if hosts > 1 or (hosts == 0 and head.version == "1.1"):
        raise BadRequest(f"expected one Host header in an HTTP/1.1 request, got {hosts}")
    for name, value in head.headers:
        if name == b"transfer-encoding" and value.strip().lower() != b"chunked":
            raise UnknownCoding("expected a body without a transfer coding, or with the coding chunked alone")
    try:
        parsed = httptools.parse_url(head.url)
    except httptools.HttpParserInvalidURLError as error:
        raise BadRequest(f"expected a path as the request's target: {error}") from error
    raw_path: bytes = parsed.path or b""
    if not raw_path.startswith(b"/"):
        raise BadRequest("expected a path that begins with / as the request's target")
    path = raw_path.decode("latin-1")
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": head.version,
        "scheme": "http",
        "root_path": "",
        "method": head.method.decode("ascii"),
        "path": unquote(path) if "%" in path else path,
        "raw_path": raw_path,
        "query_string": parsed.query or b"",
        "headers": head.headers,
        "state": state.copy(),
        **addresses,
    }
