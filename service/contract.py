"""The bodies of requests and replies; OpenAPI is generated from these."""

import math
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    WithJsonSchema,
    model_validator,
)

MAX_K = 100
MAX_FIELDS = 64  # of any object; one that has fields of its own names them below
MAX_HISTORY = 10_000
LARGEST_WHOLE = 10**100
MAX_BEAM_WIDTH = 500
MAX_TIMEOUT_MS = 600_000
MAX_CONDITIONS = 20
MAX_FILTER_VALUES = 10_000
MAX_ATTRIBUTES = 1000
MAX_VECTOR = 100_000
MAX_PAGE = 1000

ItemId = Annotated[str, Field(min_length=1, max_length=256, examples=["1"])]
# A list ends at its first fault: 500,000 faults would take minutes and gigabytes to tell of.
ItemIds = Annotated[list[ItemId], Field(max_length=MAX_HISTORY, fail_fast=True)]
Code = Annotated[int, Field(ge=0)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Scalar = bool | int | float | str
Whole = Annotated[int, Field(ge=-(10**100), le=10**100)]
SCALAR_SCHEMA = TypeAdapter(bool | Whole | Finite | str).json_schema()


def _are_scalars(values: list[Any]) -> list[Scalar]:
    """Lets texts, numbers of a sane size, true and false pass; a union of types would take 2 us for each value."""
    for value in values:
        kind = type(value)
        if kind is str or kind is bool:
            continue
        if kind is not int and kind is not float:
            raise ValueError(f"a value is a string, a number, true or false; got {kind.__name__}")
        if not (abs(value) <= LARGEST_WHOLE if kind is int else math.isfinite(value)):
            raise ValueError("a number is finite, and a whole one lies between -1e100 and 1e100")
    return values


Values = Annotated[
    list[Annotated[Any, WithJsonSchema(SCALAR_SCHEMA)]],
    Field(min_length=1, max_length=MAX_FILTER_VALUES),
    AfterValidator(_are_scalars),
]


class Body(BaseModel):
    """A request's body: nothing beside its fields, and nothing taken for what it is not."""

    model_config = ConfigDict(extra="forbid", strict=True)

    @model_validator(mode="before")
    @classmethod
    def _has_few_fields(cls, fields: object) -> object:
        return bounded(fields, MAX_FIELDS, "fields")


def bounded(fields: object, limit: int, kind: str) -> object:
    """Lets a JSON object pass that has few members; what else comes is looked at later.

    Raises:
        ValueError: If it has more, before any of them is looked at.
    """
    if isinstance(fields, dict) and len(fields) > limit:
        raise ValueError(f"at most {limit} {kind} are taken, got {len(fields)}")
    return fields


class Condition(Body):
    """What an attribute must meet: every operator that is given."""

    any_of: Values | None = Field(None, description="The attribute, or one value of a list, is one of these.")
    none_of: Values | None = Field(None, description="Neither the attribute nor a value of a list is one of these.")
    gte: Finite | None = Field(None, description="The attribute is a number of at least this.")
    lte: Finite | None = Field(None, description="The attribute is a number of at most this.")

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if all(value is None for value in (self.any_of, self.none_of, self.gte, self.lte)):
            raise ValueError("give at least one of any_of, none_of, gte and lte")
        return self

    @property
    def num_values(self) -> int:
        """How many values it names."""
        return len(self.any_of or ()) + len(self.none_of or ())


Filter = Annotated[
    dict[str, Condition],
    Field(max_length=MAX_CONDITIONS),
    BeforeValidator(lambda fields: bounded(fields, MAX_CONDITIONS, "conditions")),
]


class RecommendRequest(Body):
    """A user's history, and what to recommend after it."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"history": ["1", "588", "71"], "k": 5}]})

    history: ItemIds = Field(description="Item ids, oldest first; may be empty.")
    k: int = Field(10, ge=1, le=MAX_K, description="How many items to return.")
    exclude: ItemIds = Field(default_factory=list, description="Items that must not be returned.")
    exclude_history: bool = Field(True, description="Whether the items of the history must not be returned either.")
    filter: Filter = Field(
        default_factory=dict,
        description="Conditions on item attributes, all of which an item must meet; item_id makes an allow-list.",
        examples=[{"genres": {"any_of": ["Comedy"]}, "year": {"gte": 1990}}],
    )
    new_item_share: float = Field(
        0.0,
        ge=0,
        le=1,
        description="Share of the k places, rounded up, that are kept for items that nobody chose in training, such as "
        "those written since; 0 lets them compete.",
    )
    routing_key: str | None = Field(
        None,
        min_length=1,
        max_length=256,
        description="What a trial of a new model goes by: requests of one key, such as a user's id, are answered "
        "by the same model. By default every request is drawn anew.",
    )
    beam_width: int | None = Field(
        None, ge=1, le=MAX_BEAM_WIDTH, description="Beams kept at every level; raised to k where it is less."
    )
    timeout_ms: int | None = Field(
        None, ge=1, le=MAX_TIMEOUT_MS, description="After this long the answer is 504 and the work is dropped."
    )

    @model_validator(mode="after")
    def _filters_by_few_values(self) -> Self:
        if self.filter:
            total = sum(condition.num_values for condition in self.filter.values())
            if total > MAX_FILTER_VALUES:
                raise ValueError(f"filter: all conditions together take {MAX_FILTER_VALUES} values, got {total}")
        return self


class Recommendation(BaseModel):
    """One recommended item."""

    item_id: str
    rank: int = Field(ge=1, description="1 is the best.")
    score: float = Field(
        description="What the list is sorted by: log_prob, and beside it how well the item fits the history. "
        "Comparable within one list only."
    )
    log_prob: float = Field(
        description="Natural logarithm of the probability that this is the next item, over the whole catalogue; under "
        "the popular fallback, of its share of all training interactions."
    )
    semantic_id: list[Code]
    payload: dict[str, Any] = Field(description="The item's attributes.")


class RecommendReply(BaseModel):
    """The best next items, best first."""

    recommendation_id: str = Field(description="Unique to this reply, for joining it with what the user did.")
    model_version: str
    catalogue_version: int = Field(description="0 is the catalogue as published; every change adds one.")
    took_ms: float = Field(description="Time spent on this request, in milliseconds.")
    items: list[Recommendation]
    unknown_items: list[str] = Field(description="History ids that the catalogue does not hold; they were skipped.")
    eligible_items: int = Field(description="How many items could have been returned; less than k where k is large.")
    fallback: Literal["popular", "degraded"] | None = Field(
        description="popular: no history was usable, so these are the most popular items; degraded: Redis was away, "
        "and the replica answered from its own copy."
    )


class SemanticIdReply(BaseModel):
    """An item's semantic ID."""

    item_id: str
    semantic_id: list[Code] = Field(description="One code a level; the last tells items of equal content apart.")
    model_version: str


class ItemReply(SemanticIdReply):
    """An item's attributes and semantic ID."""

    payload: dict[str, Any]


class WriteItemRequest(Body):
    """An item's content; all of it, for what is left out is taken away."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"attributes": {"title": "Heat", "genres": ["Crime"], "year": 1995}}]},
    )

    attributes: dict[str, Any] = Field(
        default_factory=dict,
        max_length=MAX_ATTRIBUTES,
        description="By name: those that the catalogue shows, and the vectors that the model was trained with.",
    )
    text_vector: Annotated[list[Finite], Field(max_length=MAX_VECTOR, fail_fast=True)] | None = Field(
        None,
        description="The embedding of the item's text; by default the service makes it with the encoder of training.",
    )


class WrittenItem(SemanticIdReply):
    """An item that was added or replaced."""

    catalogue_version: int = Field(description="The catalogue in which the item is.")


class ItemPage(BaseModel):
    """Some of the items below a prefix of semantic IDs, in the order of those."""

    items: list[SemanticIdReply]
    total: int = Field(description="Items below the prefix.")
    next_offset: int | None = Field(description="Where the next page begins; null on the last one.")


class ActivateRequest(Body):
    """What part a model takes up."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"part": "canary", "percent": 5}]})

    part: Literal["active", "canary", "shadow"] = Field(
        "active",
        description="active: answers everything, which ends any trial; canary: answers a share of the requests; "
        "shadow: is asked about a share of the requests as well, to be measured, while the active model answers.",
    )
    percent: float = Field(
        100.0, gt=0, le=100, description="The share that a canary or shadow gets, by a stable hash of routing_key."
    )


class ModelReply(BaseModel):
    """A bundle at hand."""

    version: str
    part: Literal["active", "canary", "shadow"] | None = Field(description="null: it is not loaded.")
    percent: float | None = Field(description="Of a canary or shadow.")
    created_at: str | None
    num_items: int | None
    metrics: dict[str, dict[str, float]] = Field(description="What its evaluation measured, by model.")
    fault: str | None = Field(description="Why it cannot be read; null where it can.")


class ModelList(BaseModel):
    """The bundles at hand."""

    models: list[ModelReply]


class Health(BaseModel):
    """The process is alive."""

    status: Literal["alive"] = "alive"


class Readiness(BaseModel):
    """The service can answer."""

    status: Literal["ready"] = "ready"
    model_version: str
    catalogue_version: int


class ProblemPart(BaseModel):
    """One fault of a request: where, as a JSON pointer, and what."""

    pointer: str
    detail: str


class Problem(BaseModel):
    """An error as problem details (RFC 9457)."""

    type: str = Field(description="Names the kind of problem; stable, for programs.")
    title: str
    status: int
    detail: str
    instance: str
    request_id: str
    retryable: bool = Field(description="Whether the same request may succeed later.")
    errors: list[ProblemPart] = Field(default_factory=list)
