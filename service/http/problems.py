"""Converts every error to an HTTP answer with problem details (RFC 9457)."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from rqrec.service.contract.fields import VALUE_ERROR
from rqrec.service.contract.replies import Problem, ProblemPart
from rqrec.service.errors import (
    AdminOff,
    BadRequest,
    BodyTimeout,
    ClientGone,
    Conflict,
    DeadlinePassed,
    HeadTooLarge,
    InvalidPart,
    NoMap,
    NoReport,
    NotReady,
    Overloaded,
    RateLimited,
    ReadOnly,
    RetryLater,
    StoreRefused,
    StoreUnavailable,
    TooLarge,
    Unauthorized,
    UnknownCoding,
    UnknownItem,
    UnknownModel,
    UnknownUser,
    UnsupportedEncoding,
    UnusableModel,
)
from rqrec.service.http.openapi import reference
from rqrec.service.http.root_path import client_path
from rqrec.service.ids import request_id

MEDIA_TYPE = "application/problem+json"
# A client chooses the number of its faults and the length of their texts. These limits keep every answer under 64 KiB.
MAX_FAULTS, MAX_POINTER, MAX_DETAIL, MAX_INSTANCE = 20, 120, 300, 256
logger = logging.getLogger("rqrec")


class Kind(NamedTuple):
    """One kind of error answer: the fields of its problem details (RFC 9457) that are the same in every such answer.

    Attributes:
        type: Name of the kind, such as `unknown-item`. It never changes, so that programs can compare it.
        title: Short description, for people.
        status: HTTP status.
        retryable: Whether the same request may succeed later.
    """

    type: str
    title: str
    status: int
    retryable: bool


UNKNOWN_ITEM = Kind("unknown-item", "The catalogue does not hold this item", 404, False)
NO_MAP = Kind("no-map", "The model has no map of its items", 404, False)
UNKNOWN_MODEL = Kind("unknown-model", "There is no model of this version", 404, False)
NO_REPORT = Kind("no-report", "This model has no training report", 404, False)
UNKNOWN_USER = Kind("unknown-user", "Nothing is stored of this user", 404, False)
UNUSABLE_MODEL = Kind("unusable-model", "The model cannot be served", 409, False)
ADMIN_OFF = Kind("admin-off", "The admin routes are off", 404, False)
UNAUTHORIZED = Kind("unauthorized", "The admin token is missing or wrong", 401, False)
CONFLICT = Kind("conflict", "The catalogue does not allow this change", 409, False)
READ_ONLY = Kind("read-only", "The catalogue cannot be written", 503, False)
TOO_LARGE = Kind("too-large", "The request is over a limit", 413, False)
UNSUPPORTED_ENCODING = Kind("unsupported-encoding", "The body must not be compressed", 415, False)
INVALID = Kind("invalid-request", "The request is not valid", 422, False)
NOT_READY = Kind("not-ready", "The service cannot answer now", 503, True)
STORE_UNAVAILABLE = Kind("store-unavailable", "The event store does not answer", 503, True)
INTERNAL = Kind("internal", "The service failed", 500, True)
OVERLOADED = Kind("overloaded", "Too many requests are waiting", 429, True)
RATE_LIMITED = Kind("rate-limited", "This client asks too often", 429, True)
BODY_TIMEOUT = Kind("body-timeout", "The body did not arrive in time", 408, True)
BAD_REQUEST = Kind("bad-request", "The request is not valid HTTP", 400, False)
UNKNOWN_CODING = Kind("unknown-coding", "The server does not know this transfer coding", 501, False)
HEAD_TOO_LARGE = Kind("head-too-large", "The request's headers are over a limit", 431, False)
DEADLINE = Kind("deadline", "The request's time was up", 504, True)
CLIENT_GONE = Kind("client-gone", "The client hung up", 499, True)
DOMAIN_ERRORS: Mapping[type[Exception], Kind] = {
    UnknownItem: UNKNOWN_ITEM,
    NoMap: NO_MAP,
    UnknownModel: UNKNOWN_MODEL,
    NoReport: NO_REPORT,
    UnknownUser: UNKNOWN_USER,
    UnusableModel: UNUSABLE_MODEL,
    AdminOff: ADMIN_OFF,
    Unauthorized: UNAUTHORIZED,
    Conflict: CONFLICT,
    ReadOnly: READ_ONLY,
    TooLarge: TOO_LARGE,
    UnsupportedEncoding: UNSUPPORTED_ENCODING,
    NotReady: NOT_READY,
    StoreUnavailable: STORE_UNAVAILABLE,
    StoreRefused: STORE_UNAVAILABLE,
    Overloaded: OVERLOADED,
    RateLimited: RATE_LIMITED,
    DeadlinePassed: DEADLINE,
    BodyTimeout: BODY_TIMEOUT,
    BadRequest: BAD_REQUEST,
    UnknownCoding: UNKNOWN_CODING,
    HeadTooLarge: HEAD_TOO_LARGE,
    ClientGone: CLIENT_GONE,
}


def declared(*kinds: Kind) -> dict[int | str, dict[str, Any]]:
    """Returns FastAPI's argument `responses` for a route that can answer with these kinds of errors."""
    content = {MEDIA_TYPE: {"schema": reference(Problem)}}
    return {kind.status: {"description": kind.title, "content": content} for kind in kinds}


def install_error_handlers(app: FastAPI) -> None:
    """Adds error handlers to an app, so that it answers every error with problem details."""

    async def answer(request: Request, error: Exception) -> Response:
        return problem_response(error, client_path(request.scope))

    for error_type in (*DOMAIN_ERRORS, InvalidPart, RequestValidationError, HTTPException, Exception):
        app.add_exception_handler(error_type, answer)


def problem_response(error: Exception, path: str) -> Response:
    """Returns the HTTP answer for an error. Logs an error of an unexpected type, and answers it with status 500.

    Args:
        error: The error.
        path: The path of the request, for the field `instance` of the answer.
    """
    if (kind := DOMAIN_ERRORS.get(type(error))) is not None:
        response = _problem(kind, str(error), path)
        if isinstance(error, RetryLater):
            response.headers["Retry-After"] = str(error.retry_after_s)
        if isinstance(error, Unauthorized):
            response.headers["WWW-Authenticate"] = "Bearer"
        return response
    if isinstance(error, InvalidPart):
        return _invalid(path, [(("body", *error.within, *error.place), str(error))])
    if isinstance(error, RequestValidationError):
        return _invalid(path, [(one["loc"], one["msg"].removeprefix(VALUE_ERROR)) for one in error.errors()])
    if isinstance(error, HTTPException):
        response = _problem(Kind("http", error.detail, error.status_code, False), error.detail, path)
        response.headers.update(error.headers or {})
        return response
    logger.error("a request failed with an unexpected error", exc_info=error)
    return _problem(INTERNAL, "an unexpected error: see the service's log for this request_id", path)


def _invalid(path: str, faults: Sequence[tuple[tuple[int | str, ...], str]]) -> Response:
    """The answer to an invalid request: its first MAX_FAULTS faults, each with path and reason cut to a limit."""
    parts = [
        ProblemPart(pointer=json_pointer(place[1:]), detail=shortened(reason, MAX_DETAIL))
        for place, reason in faults[:MAX_FAULTS]
    ]
    detail = "; ".join(f"{part.pointer or '/'}: {part.detail}" for part in parts)
    if len(faults) > len(parts):
        detail = f"the first {len(parts)} of {len(faults)} faults: {detail}"
    return _problem(INVALID, shortened(detail, MAX_DETAIL * 4), path, parts)


def shortened(text: str, length: int) -> str:
    """Returns a text cut to a length. If it is cut, it ends with three dots.

    Args:
        text: The text.
        length: Largest number of characters, dots included; at least 3.
    """
    return text if len(text) <= length else f"{text[: length - 3]}..."


def _problem(kind: Kind, detail: str, path: str, parts: Sequence[ProblemPart] = ()) -> Response:
    problem = Problem(
        type=kind.type,
        title=kind.title,
        status=kind.status,
        detail=shortened(detail, MAX_DETAIL * 4),
        instance=shortened(path, MAX_INSTANCE),
        request_id=request_id.get(),
        retryable=kind.retryable,
        errors=list(parts),
    )
    return Response(problem.model_dump_json(), status_code=kind.status, media_type=MEDIA_TYPE)


def json_pointer(place: tuple[int | str, ...]) -> str:
    """Returns the names and numbers that lead to a value as a JSON pointer (RFC 6901), cut to MAX_POINTER."""
    return shortened("".join(f"/{str(part).replace('~', '~0').replace('/', '~1')}" for part in place), MAX_POINTER)
