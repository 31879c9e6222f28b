"""What a call of the service is: a request, the type of its answer, and the errors that it can end with."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import httpx
from pydantic import BaseModel, TypeAdapter, ValidationError

from rqrec.service.contract.fields import VALUE_ERROR
from rqrec.service.contract.replies import Problem

ReplyT = TypeVar("ReplyT")
CheckedT = TypeVar("CheckedT")
FAULTS_SHOWN, LONGEST_VALUE = 3, 60


class ProblemError(Exception):
    """The service answered a call with an error.

    Args:
        problem: The problem details of the answer.
        retry_after_s: The answer's Retry-After, in seconds; None if it has none.

    Attributes:
        problem: The problem details of the answer.
        retry_after_s: The answer's Retry-After, in seconds; None if it has none.
    """

    def __init__(self, problem: Problem, retry_after_s: float | None = None) -> None:
        super().__init__(f"{problem.status} {problem.title}: {problem.detail}")
        self.problem = problem
        self.retry_after_s = retry_after_s


class ServiceUnreachable(httpx.TransportError):
    """The service cannot be reached, or does not answer in time. The message names the address of the service."""


class InvalidArgument(ValueError):
    """An argument of a call is not valid, so nothing was sent. The message names the argument, in one line."""


class UnexpectedReply(Exception):
    """An answer says success, but is not of the type that the call expects. The message says what is wrong with it."""


def checked(kind: type[CheckedT], value: object) -> CheckedT:
    """Converts arguments of a call to the type of its body or of a part of it.

    Args:
        kind: The type.
        value: The arguments.

    Raises:
        InvalidArgument: If they do not fit the type.
    """
    try:
        return TypeAdapter(kind).validate_python(value)
    except ValidationError as error:
        raise InvalidArgument(_faults(error)) from None


def _faults(error: ValidationError) -> str:
    """The first faults in one line, each with its place and, if that is short, with what was given."""
    faults = []
    for one in error.errors(include_url=False)[:FAULTS_SHOWN]:
        place, given = ".".join(map(str, one["loc"])), repr(one["input"])
        is_unknown = one["type"] == "extra_forbidden"
        text = "no field has this name" if is_unknown else one["msg"].removeprefix(VALUE_ERROR)
        got = f", got {given}" if len(given) <= LONGEST_VALUE and "got " not in text else ""
        faults.append(f"{place}: {text}{got}" if place else f"{text}{got}")
    return "; ".join(faults)


@dataclass(frozen=True)
class Call(Generic[ReplyT]):
    """The description of one HTTP call of the service. `Client.send` sends it.

    Attributes:
        method: HTTP method.
        path: Path below the service's address, percent-encoded.
        reply: Type of the answer.
        body: Body of the request, sent as JSON; None for no body. Fields to which no value was given are left out.
        query: Query parameters, by name.
    """

    method: str
    path: str
    reply: type[ReplyT]
    body: BaseModel | None = None
    query: Mapping[str, int | str | Sequence[str]] = field(default_factory=dict)

    @property
    def content(self) -> bytes | None:
        """The body of the request as JSON; None if this call has no body."""
        return None if self.body is None else self.body.model_dump_json(exclude_unset=True).encode()

    def read(self, response: httpx.Response) -> ReplyT:
        """Parses the HTTP response to this call.

        Args:
            response: The HTTP response.

        Returns:
            The answer, of the type `Call.reply`.

        Raises:
            ProblemError: If the service answered with an error.
            httpx.HTTPStatusError: If another server, such as a proxy, answered with an error.
            UnexpectedReply: If the status says success, but the answer is not of the type `Call.reply`.
        """
        if response.is_success:
            try:
                return TypeAdapter(self.reply).validate_json(response.content or b"null")
            except ValidationError as error:
                raise UnexpectedReply(
                    f"{response.url} must answer with {self.reply.__name__}: {_faults(error)}: check the address, and "
                    "that the client is of the service's release"
                ) from error
        try:
            problem = Problem.model_validate_json(response.content)
        except ValidationError:
            response.raise_for_status()
            raise
        after = response.headers.get("retry-after")
        raise ProblemError(problem, float(after) if after is not None else None)
