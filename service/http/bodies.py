"""Reads a request's body, within its limit, and as a model in one pass from bytes."""

from typing import TypeVar

from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError
from starlette.types import Receive, Scope

from rqrec.service.admission.request_context import context_of
from rqrec.service.errors import ClientGone, TooLarge
from rqrec.service.serving.runtime import Runtime

MAX_CONTAINERS = 50_000  # each becomes a Python object before the schema can refuse it
LARGE_BODY_BYTES = 16 << 10  # to parse as much takes about a millisecond
ModelT = TypeVar("ModelT", bound=BaseModel)


async def read_body(scope: Scope, receive: Receive, runtime: Runtime) -> bytes:
    """The body of a request, within the time that its context gives it; of one that is too large, no more is read.

    Raises:
        TooLarge: If it has more bytes than it may.
        Overloaded: If the bodies of all requests have.
        ClientGone: If the client hung up before the end of it.
    """
    context, max_bytes = context_of(scope), runtime.settings.max_body_bytes
    parts: list[bytes] = []
    context.begin_body()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        part: bytes = message.get("body", b"")
        runtime.admission.hold_body(context, len(part))
        if context.body_bytes > max_bytes:
            raise TooLarge(f"a request body may have at most {max_bytes} bytes")
        if not message.get("more_body", False):
            context.finish_body()
            return b"".join([*parts, part]) if parts else part
        parts.append(part)


async def read_json(scope: Scope, receive: Receive, runtime: Runtime, model: type[ModelT]) -> ModelT:
    """The body of a request as a model; large ones are parsed one at a time.

    Raises:
        Exception: See `read_body` and `parse_json`.
    """
    body = await read_body(scope, receive, runtime)
    if len(body) <= LARGE_BODY_BYTES:
        return parse_json(body, model)
    async with runtime.long_turn():
        return parse_json(body, model)


def parse_json(body: bytes, model: type[ModelT]) -> ModelT:
    """A body as a model.

    Raises:
        TooLarge: If it has more lists and objects, or a longer history, than it may.
        RequestValidationError: If it is not one, with the places of the faults.
    """
    if body.count(b"[") + body.count(b"{") > MAX_CONTAINERS:
        raise TooLarge(f"a request body may have at most {MAX_CONTAINERS} lists and objects")
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        faults = error.errors(include_url=False, include_context=False, include_input=False)
        for fault in faults:
            if fault["type"] == "too_long" and fault["loc"] in {("history",), ("exclude",)}:
                raise TooLarge(f"{fault['loc'][0]}: {fault['msg']}") from error
        raise RequestValidationError([{**fault, "loc": ("body", *fault["loc"])} for fault in faults]) from error
