"""A request's line and headers → the scope of an ASGI request."""

from typing import Any
from urllib.parse import unquote

import httptools
from starlette.types import Scope

from rqrec.service.errors import BadRequest
from rqrec.service.server.request_parser import RequestHead


def scope_of(head: RequestHead, *, addresses: dict[str, Any], state: dict[str, Any]) -> Scope:
    """The scope of a request.

    Args:
        head: Its line and headers.
        addresses: The scope's `client` and `server`.
        state: Of the app's lifespan.

    Raises:
        BadRequest: If the target has no path, or there is not one Host (RFC 9112, 3.2).
    """
    hosts = sum(name == b"host" for name, _ in head.headers)
    if hosts > 1 or (hosts == 0 and head.version == "1.1"):
        raise BadRequest(f"an HTTP/1.1 request has one Host header, got {hosts}")
    try:
        parsed = httptools.parse_url(head.url)
    except httptools.HttpParserInvalidURLError as error:
        raise BadRequest(f"the request's target is no path: {error}") from error
    raw_path: bytes = parsed.path or b""
    if not raw_path.startswith(b"/"):
        raise BadRequest("the request's target must be a path that begins with /")
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
