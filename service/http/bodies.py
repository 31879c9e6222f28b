"""Reads the body of a request, within limits of size and time, and parses it."""

from collections.abc import Iterable
from typing import TypeVar

from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError
from starlette.types import Receive, Scope

from rqrec.service.admission.request_context import context_of
from rqrec.service.errors import ClientGone, TooLarge, UnsupportedEncoding
from rqrec.service.ids import Header
from rqrec.service.serving.runtime import Runtime

MAX_CONTAINERS = 50_000  # each one becomes a Python object before validation can refuse it
LARGE_BODY_BYTES = 16 << 10  # parsing takes about a millisecond
LONG_LISTS = {("history",), ("exclude",), ("events",)}  # fields whose length is a limit of the service
ModelT = TypeVar("ModelT", bound=BaseModel)


async def read_body(scope: Scope, receive: Receive, runtime: Runtime) -> bytes:
    """Reads the whole body of a request. Stops as soon as the body is known to be too large.

    Args:
        scope: The request's ASGI scope.
        receive: ASGI's `receive`, which returns the parts of the body.
        runtime: The running service, which has the limits.

    Returns:
        The bytes of the body.

    Raises:
        TooLarge: If the body has too many bytes.
        UnsupportedEncoding: If the body is compressed.
        Overloaded: If the bodies of all requests together have too many bytes.
        ClientGone: If the client closed its connection before the end of the body.
    """
    context, max_bytes = context_of(scope), runtime.limits.max_body_bytes
    parts: list[bytes] = []
    _check_headers(scope["headers"], max_bytes)
    context.begin_body()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        part: bytes = message.get("body", b"")
        runtime.admission.hold_body(context, len(part))
        if context.body_bytes > max_bytes:
            raise _too_large(max_bytes)
        if not message.get("more_body", False):
            context.finish_body()
            return b"".join([*parts, part]) if parts else part
        parts.append(part)


def _check_headers(headers: Iterable[Header], max_bytes: int) -> None:
    """Refuses a body by its headers, before a client that waits for 100 Continue sends it."""
    for name, value in headers:
        if name == b"content-length" and value.isdigit() and int(value) > max_bytes:
            raise _too_large(max_bytes)
        if name == b"content-encoding" and value.strip().lower() != b"identity":
            raise UnsupportedEncoding("expected a body that is not compressed, so without the header content-encoding")


def _too_large(max_bytes: int) -> TooLarge:
    return TooLarge(f"a request body may have at most {max_bytes} bytes")


async def read_json(scope: Scope, receive: Receive, runtime: Runtime, model: type[ModelT]) -> ModelT:
    """Reads, parses and validates the JSON body of a request. Parses at most one large body at a time.

    Args:
        scope: The request's ASGI scope.
        receive: ASGI's `receive`, which returns the parts of the body.
        runtime: The running service, which has the limits.
        model: The pydantic model of the body.

    Returns:
        The validated body.

    Raises:
        Exception: Any error that `read_body` or `parse_json` raises.
    """
    body = await read_body(scope, receive, runtime)
    if len(body) <= LARGE_BODY_BYTES:
        return parse_json(body, model)
    async with runtime.long_turn():
        return parse_json(body, model)


def parse_json(body: bytes, model: type[ModelT]) -> ModelT:
    """Parses and validates a JSON body.

    Args:
        body: The bytes of the body.
        model: The pydantic model of the body.

    Returns:
        The validated body.

    Raises:
        TooLarge: If the body has too many lists and objects, or one of LONG_LISTS is too long.
        RequestValidationError: If the body does not fit the model. The error lists the path of every invalid field.
    """
    if body.count(b"[") + body.count(b"{") > MAX_CONTAINERS:
        raise TooLarge(f"a request body may have at most {MAX_CONTAINERS} lists and objects")
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        faults = error.errors(include_url=False, include_context=False, include_input=False)
        for fault in faults:
            if fault["type"] == "too_long" and fault["loc"] in LONG_LISTS:
                raise TooLarge(f"{fault['loc'][0]}: {fault['msg']}") from error
        raise RequestValidationError([{**fault, "loc": ("body", *fault["loc"])} for fault in faults]) from error
