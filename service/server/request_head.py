"""A request's line and headers, as a parser has read them → the scope of an ASGI request."""

from typing import Any
from urllib.parse import unquote

import httptools
from starlette.types import Scope

from service.errors import BadRequest
from service.ids import Header

UPGRADE_HEADERS = (b"upgrade", b"http2-settings")


def scope_of(
    method: bytes, url: bytes, version: str, headers: list[Header], *, addresses: dict[str, Any], state: dict[str, Any]
) -> Scope:
    """The scope of a request.

    Args:
        method: Of HTTP.
        url: The request's target, as it came.
        version: Of HTTP, such as 1.1.
        headers: Names in lower case.
        addresses: The scope's `client` and `server`.
        state: Of the app's lifespan.

    Raises:
        BadRequest: If the target has no path, or there is not one Host (RFC 9112, 3.2).
    """
    hosts = sum(name == b"host" for name, _ in headers)
    if hosts > 1 or (hosts == 0 and version == "1.1"):
        raise BadRequest(f"an HTTP/1.1 request has one Host header, got {hosts}")
    try:
        parsed = httptools.parse_url(url)
    except httptools.HttpParserInvalidURLError as error:
        raise BadRequest(f"the request's target is no path: {error}") from error
    raw_path: bytes = parsed.path or b""
    if not raw_path.startswith(b"/"):
        raise BadRequest("the request's target must be a path that begins with /")
    path = raw_path.decode("latin-1")
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": version,
        "scheme": "http",
        "root_path": "",
        "method": method.decode("ascii"),
        "path": unquote(path) if "%" in path else path,
        "raw_path": raw_path,
        "query_string": parsed.query or b"",
        "headers": headers,
        "state": state.copy(),
        **addresses,
    }


def head_without_upgrade(method: bytes, url: bytes, headers: list[Header]) -> bytes:
    """The request's head again, without its offer to speak another protocol."""
    lines = [b"%b %b HTTP/1.1\r\n" % (method, url)]
    for name, value in headers:
        kept = value
        if name == b"connection":
            tokens = [token.strip() for token in value.split(b",")]
            kept = b", ".join([token for token in tokens if token.lower() not in UPGRADE_HEADERS])
        if name not in UPGRADE_HEADERS and (kept or name != b"connection"):
            lines.append(b"%b: %b\r\n" % (name, kept))
    return b"".join(lines) + b"\r\n"
