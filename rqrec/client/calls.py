"""The calls that a service answers: how each is asked, and what its answer is. Nothing is sent here."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, TypeVar
from urllib.parse import quote

import httpx
from pydantic import BaseModel, TypeAdapter, ValidationError

from rqrec.service.contract import (
    ActivateRequest,
    Condition,
    ItemPage,
    ItemReply,
    ModelList,
    Problem,
    Readiness,
    RecommendReply,
    RecommendRequest,
    SemanticIdReply,
    WriteItemRequest,
    WrittenItem,
)

ReplyT = TypeVar("ReplyT")


class ProblemError(Exception):
    """The service refused or failed a call.

    Attributes:
        problem: What it said.
        retry_after_s: When it asked to come back, in seconds; None where it did not.
    """

    def __init__(self, problem: Problem, retry_after_s: float | None = None) -> None:
        super().__init__(f"{problem.status} {problem.title}: {problem.detail}")
        self.problem = problem
        self.retry_after_s = retry_after_s


@dataclass(frozen=True)
class Call(Generic[ReplyT]):
    """One call.

    Attributes:
        method: Of HTTP.
        path: Below the service's address, quoted.
        reply: The type of its answer.
        body: Sent as JSON, without what was left at its default.
        query: In the address.
    """

    method: str
    path: str
    reply: type[ReplyT]
    body: BaseModel | None = None
    query: Mapping[str, int] = field(default_factory=dict)

    @property
    def content(self) -> bytes | None:
        """The body as bytes."""
        return None if self.body is None else self.body.model_dump_json(exclude_unset=True).encode()

    def read(self, response: httpx.Response) -> ReplyT:
        """The answer.

        Raises:
            ProblemError: If the service says so.
            httpx.HTTPStatusError: If something before the service says so.
        """
        if response.is_success:
            return TypeAdapter(self.reply).validate_json(response.content or b"null")
        try:
            problem = Problem.model_validate_json(response.content)
        except ValidationError:
            response.raise_for_status()
            raise
        after = response.headers.get("retry-after")
        raise ProblemError(problem, float(after) if after is not None else None)


def recommend(
    history: Sequence[str],
    *,
    k: int = 10,
    exclude: Sequence[str] = (),
    exclude_history: bool = True,
    filter: Mapping[str, Mapping[str, Any]] | None = None,  # noqa: A002 - its name over HTTP
    new_item_share: float = 0.0,
    routing_key: str | None = None,
    beam_width: int | None = None,
    timeout_ms: int | None = None,
) -> Call[RecommendReply]:
    """The next items for a history; the parameters are those of `service.contract.RecommendRequest`."""
    body = RecommendRequest(
        history=list(history),
        k=k,
        exclude=list(exclude),
        exclude_history=exclude_history,
        filter={name: Condition.model_validate(one) for name, one in (filter or {}).items()},
        new_item_share=new_item_share,
        routing_key=routing_key,
        beam_width=beam_width,
        timeout_ms=timeout_ms,
    )
    return Call("POST", "/recommend", RecommendReply, body)


def item(item_id: str) -> Call[ItemReply]:
    """An item's attributes and semantic ID."""
    return Call("GET", f"/items/{_quoted(item_id)}", ItemReply)


def semantic_id(item_id: str) -> Call[SemanticIdReply]:
    """An item's semantic ID."""
    return Call("GET", f"/items/{_quoted(item_id)}/semantic-id", SemanticIdReply)


def items_below(prefix: Sequence[int], *, offset: int = 0, limit: int = 100) -> Call[ItemPage]:
    """A page of the items whose semantic IDs begin with these codes."""
    codes = "-".join(map(str, prefix))
    return Call("GET", f"/semantic-ids/{codes}/items", ItemPage, query={"offset": offset, "limit": limit})


def put_item(
    item_id: str, attributes: Mapping[str, Any], *, text_vector: Sequence[float] | None = None
) -> Call[WrittenItem]:
    """Adds or replaces an item; needs the admin token."""
    vector = list(text_vector) if text_vector is not None else None
    body = WriteItemRequest(attributes=dict(attributes), text_vector=vector)
    return Call("PUT", f"/items/{_quoted(item_id)}", WrittenItem, body)


def delete_item(item_id: str) -> Call[None]:
    """Takes an item out of every answer; needs the admin token."""
    return Call("DELETE", f"/items/{_quoted(item_id)}", type(None))


def models() -> Call[ModelList]:
    """The models at hand; needs the admin token."""
    return Call("GET", "/models", ModelList)


def activate(
    version: str, *, part: Literal["active", "canary", "shadow"] = "active", percent: float = 100.0
) -> Call[ModelList]:
    """Gives a model a part; needs the admin token."""
    body = ActivateRequest(part=part, percent=percent)
    return Call("POST", f"/models/{_quoted(version)}/activate", ModelList, body)


def readiness() -> Call[Readiness]:
    """The model that answers; a `ProblemError` while none does."""
    return Call("GET", "/readyz", Readiness)


def _quoted(part: str) -> str:
    return quote(part, safe="")
