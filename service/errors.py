"""Errors as problem details (RFC 9457): every kind of error is mapped to HTTP here, once."""

import logging
from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

from asgi_correlation_id import correlation_id
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from service.openapi import reference
from service.schemas import Problem, ProblemPart

MEDIA_TYPE = "application/problem+json"
INVALID_BODY_STATUS = 400  # what FastAPI raises for a body that it cannot decode
logger = logging.getLogger("rqrec")


class InvalidPart(ValueError):
    """A part of a body is at fault in a way that its schema does not tell.

    Attributes:
        within: Where in the body such parts are.
        place: The part, from there on.
    """

    within: ClassVar[tuple[str, ...]] = ()

    def __init__(self, place: tuple[str, ...], detail: str) -> None:
        super().__init__(detail)
        self.place = place


class UnknownItem(Exception):
    """The catalogue does not hold the item."""


class TooLarge(Exception):
    """A request is over one of the limits on its size."""


class UnknownModel(Exception):
    """There is no bundle of this version."""


class UnusableModel(Exception):
    """A bundle cannot be served, and what was served goes on."""


class AdminOff(Exception):
    """An admin route was asked for, and no token is set."""


class Unauthorized(Exception):
    """An admin route was asked for without the token."""


class Conflict(Exception):
    """A change cannot be made to the catalogue as it is."""


class ReadOnly(Exception):
    """Nothing can be written here."""


class NotReady(Exception):
    """No model is loaded, or the service is draining."""


class Overloaded(Exception):
    """More work waits than may.

    Attributes:
        retry_after_s: When to come back, in seconds.
    """

    def __init__(self, detail: str, *, retry_after_s: int) -> None:
        super().__init__(detail)
        self.retry_after_s = retry_after_s


class DeadlinePassed(Exception):
    """The request's time was up before its answer was found."""

    def __init__(self) -> None:
        super().__init__("the time given to this request was up before it was answered: see timeout_ms")


class ClientGone(Exception):
    """The client hung up before the answer; nobody reads this."""


class Kind(NamedTuple):
    """How a kind of error is told over HTTP."""

    type: str
    title: str
    status: int
    retryable: bool


UNKNOWN_ITEM = Kind("unknown-item", "The catalogue does not hold this item", 404, False)
UNKNOWN_MODEL = Kind("unknown-model", "There is no model of this version", 404, False)
UNUSABLE_MODEL = Kind("unusable-model", "The model cannot be served", 409, False)
ADMIN_OFF = Kind("admin-off", "The admin routes are off", 404, False)
UNAUTHORIZED = Kind("unauthorized", "The admin token is missing or wrong", 401, False)
CONFLICT = Kind("conflict", "The catalogue does not allow this change", 409, False)
READ_ONLY = Kind("read-only", "The catalogue cannot be written", 503, False)
TOO_LARGE = Kind("too-large", "The request is over a limit", 413, False)
INVALID = Kind("invalid-request", "The request is not valid", 422, False)
NOT_READY = Kind("not-ready", "The service cannot answer now", 503, True)
INTERNAL = Kind("internal", "The service failed", 500, True)
OVERLOADED = Kind("overloaded", "Too many requests are waiting", 429, True)
RATE_LIMITED = Kind("rate-limited", "This client asks too often", 429, True)
DEADLINE = Kind("deadline", "The request's time was up", 504, True)
CLIENT_GONE = Kind("client-gone", "The client hung up", 499, True)
DOMAIN_ERRORS: Mapping[type[Exception], Kind] = {
    UnknownItem: UNKNOWN_ITEM,
    UnknownModel: UNKNOWN_MODEL,
    UnusableModel: UNUSABLE_MODEL,
    AdminOff: ADMIN_OFF,
    Unauthorized: UNAUTHORIZED,
    Conflict: CONFLICT,
    ReadOnly: READ_ONLY,
    TooLarge: TOO_LARGE,
    NotReady: NOT_READY,
    Overloaded: OVERLOADED,
    DeadlinePassed: DEADLINE,
    ClientGone: CLIENT_GONE,
}


def declared(*kinds: Kind) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route that can fail in these ways, for OpenAPI."""
    content = {MEDIA_TYPE: {"schema": reference(Problem)}}
    return {kind.status: {"description": kind.title, "content": content} for kind in kinds}


def install_error_handlers(app: FastAPI) -> None:
    """Makes the app answer every error as problem details."""

    async def domain(request: Request, error: Exception) -> Response:
        response = problem_response(DOMAIN_ERRORS[type(error)], str(error), request.url.path)
        if isinstance(error, Overloaded):
            response.headers["Retry-After"] = str(error.retry_after_s)
        if isinstance(error, Unauthorized):
            response.headers["WWW-Authenticate"] = "Bearer"
        return response

    async def invalid_part(request: Request, error: Exception) -> Response:
        assert isinstance(error, InvalidPart)
        part = ProblemPart(pointer=_pointer(("body", *error.within, *error.place)), detail=str(error))
        return problem_response(INVALID, f"{part.pointer}: {part.detail}", request.url.path, [part])

    async def validation(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        parts = [ProblemPart(pointer=_pointer(one["loc"]), detail=one["msg"]) for one in error.errors()]
        detail = "; ".join(f"{part.pointer or '/'}: {part.detail}" for part in parts)
        return problem_response(INVALID, detail, request.url.path, parts)

    async def http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        if error.status_code == INVALID_BODY_STATUS:
            return problem_response(INVALID, "the body is not JSON in UTF-8", request.url.path)
        kind = Kind("http", error.detail, error.status_code, False)
        response = problem_response(kind, error.detail, request.url.path)
        response.headers.update(error.headers or {})
        return response

    async def unexpected(request: Request, error: Exception) -> Response:
        logger.error("request failed", exc_info=error)
        return problem_response(INTERNAL, "see the service's log for this request_id", request.url.path)

    for error_type in DOMAIN_ERRORS:
        app.add_exception_handler(error_type, domain)
    app.add_exception_handler(InvalidPart, invalid_part)
    app.add_exception_handler(RequestValidationError, validation)
    app.add_exception_handler(HTTPException, http)
    app.add_exception_handler(Exception, unexpected)


def problem_response(kind: Kind, detail: str, path: str, parts: list[ProblemPart] | None = None) -> Response:
    """One problem as an HTTP response."""
    problem = Problem(
        type=kind.type,
        title=kind.title,
        status=kind.status,
        detail=detail,
        instance=path,
        request_id=correlation_id.get() or "",
        retryable=kind.retryable,
        errors=parts or [],
    )
    return Response(problem.model_dump_json(), status_code=kind.status, media_type=MEDIA_TYPE)


def _pointer(location: tuple[int | str, ...]) -> str:
    """The place of a fault as a JSON pointer (RFC 6901); the leading part names body, path or query."""
    return "".join(f"/{str(part).replace('~', '~0').replace('/', '~1')}" for part in location[1:])
