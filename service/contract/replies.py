"""The bodies of the replies of recommendations, items, probes and errors, shared by the service and the client."""

from typing import Any, Literal

from pydantic import BaseModel, Field

from rqrec.service.contract.explanation import Explanation
from rqrec.service.contract.fields import Code
from rqrec.service.contract.list_control import ListControlReply

MAX_PAGE = 1000


class Recommendation(BaseModel):
    """One recommended item."""

    item_id: str
    rank: int = Field(ge=1, description="1 is the best.")
    score: float | None = Field(
        description="The list is sorted by this score: log_prob plus the weighted relevance of the item to the "
        "history, plus a bonus for an item that in training followed the last items of the history and, where "
        "items may repeat, for an item of the history; plus the logarithms of the factors of its boosts. Comparable "
        "within one list only. With diversity and for pinned items, the list is not sorted by it. null: a pinned item "
        "that the search did not find."
    )
    log_prob: float | None = Field(
        description="Natural logarithm of the probability that this is the next item, over the whole catalogue. For an "
        "item that nobody chose in training, and for an item that the search did not find and that has a bonus or "
        "joins by caps or boosts: an estimate from the other items of the list. In the popular fallback: of the item's "
        "share of all training interactions. null: a pinned item that the search did not find."
    )
    semantic_id: list[Code]
    payload: dict[str, Any] = Field(description="The item's attributes.")
    explanation: Explanation | None = Field(None, description="Only with `explain`.")
    pinned: bool = Field(False, description="Whether the item stands here because it is pinned.")


class RecommendReply(BaseModel):
    """Recommended items, best first."""

    recommendation_id: str = Field(description="Unique id of this reply, to join it with the user's later actions.")
    model_version: str
    catalogue_version: int = Field(description="Number of changes of the catalogue since the bundle was published.")
    took_ms: float = Field(description="Time spent on this request, in milliseconds.")
    items: list[Recommendation]
    unknown_items: list[str] = Field(description="History ids that are not in the catalogue; they were skipped.")
    eligible_items: int = Field(
        description="Number of items that pass the filter and the exclusions; can be less than k. If it is 0 because "
        "of a filter, compare the filter with the values in GET /attributes."
    )
    fallback: Literal["popular", "degraded"] | None = Field(
        description="popular: no history item is known, so these are the most popular items, also where the stored "
        "history was not read (see history_source). degraded: the replica's catalogue may lack changes, or the user's "
        "history was not read, because Redis or the event store did not answer."
    )
    history_source: Literal["store", "memory", "none"] | None = Field(
        description="Where the stored history of the user comes from. store: the event store. memory: the event store "
        "did not answer, and this is what this replica has read some minutes ago. none: it did not answer, and the "
        "list is made without a stored history. null: the request has no user_id."
    )
    beams: list[list[list[Code]]] | None = Field(
        None,
        description="Only with `explain`: for each level, the prefixes of semantic IDs that survived the search there, "
        "most probable first. null in the popular fallback, and for bundles of format 9.",
    )
    list_control: ListControlReply | None = Field(
        None, description="Only in replies to requests with caps, boosts, pins or diversity."
    )


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
    models: dict[Literal["active", "canary", "shadow"], str] = Field(
        default_factory=dict,
        description="Versions of the models that this replica has loaded, by role. POST /recommend can name each.",
    )


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
