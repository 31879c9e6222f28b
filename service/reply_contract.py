"""The bodies of the replies about items, of probes, and of errors, shared by the service and the client."""

from typing import Any, Literal

from pydantic import BaseModel, Field

from rqrec.service.contract import Code

MAX_PAGE = 1000


class SemanticIdReply(BaseModel):
    """An item's semantic ID."""

    item_id: str
    semantic_id: list[Code] = Field(
        description="One code a level; the last code makes items with equal other codes unique."
    )
    model_version: str


class ItemReply(SemanticIdReply):
    """An item's attributes and semantic ID."""

    payload: dict[str, Any]


class ItemPage(BaseModel):
    """One page of the items whose semantic IDs begin with a prefix, in the order of semantic IDs."""

    items: list[SemanticIdReply]
    total: int = Field(description="Number of items under the prefix, on all pages.")
    next_offset: int | None = Field(description="Offset of the next page; null on the last page.")


class Health(BaseModel):
    """The process is alive."""

    status: Literal["alive"] = "alive"


class Readiness(BaseModel):
    """The service is ready for requests."""

    status: Literal["ready"] = "ready"
    model_version: str
    catalogue_version: int


class ProblemPart(BaseModel):
    """One fault of a request, and its position as a JSON pointer."""

    pointer: str
    detail: str


class Problem(BaseModel):
    """An error as problem details (RFC 9457)."""

    type: str = Field(description="Kind of the problem, as a stable name for programs.")
    title: str
    status: int
    detail: str
    instance: str
    request_id: str
    retryable: bool = Field(description="Whether the same request may succeed later.")
    errors: list[ProblemPart] = Field(default_factory=list)
