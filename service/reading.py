"""Reads a request's body, within its limit, and as a model in one pass from bytes."""

from typing import TypeVar

from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError
from starlette.types import Receive

from service.errors import ClientGone, TooLarge

ModelT = TypeVar("ModelT", bound=BaseModel)


async def read_body(receive: Receive, *, max_bytes: int) -> bytes:
    """The body; of one that is too large, no more is read.

    Raises:
        TooLarge: If it has more bytes than it may.
        ClientGone: If the client hung up before the end of it.
    """
    body: bytes = b""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        body += message.get("body", b"")
        if len(body) > max_bytes:
            raise TooLarge(f"a request body may have at most {max_bytes} bytes")
        if not message.get("more_body", False):
            return body


def parse_json(body: bytes, model: type[ModelT]) -> ModelT:
    """A body as a model.

    Raises:
        RequestValidationError: If it is not one, with the places of the faults.
    """
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        faults = error.errors(include_url=False, include_context=False)
        raise RequestValidationError([{**fault, "loc": ("body", *fault["loc"])} for fault in faults]) from error
