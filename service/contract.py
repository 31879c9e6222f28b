"""The bodies of recommendation requests, shared by the service and the client.

The OpenAPI document is generated from them.
"""

import math
import re
from datetime import datetime
from typing import Annotated, Any, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    WithJsonSchema,
    WrapValidator,
    model_validator,
)

MAX_K = 100
MAX_FIELDS = 64  # of any object that has no limit of its own
MAX_HISTORY = 10_000
LARGEST_WHOLE = 10**100
MAX_BEAM_WIDTH = 500
MAX_TIMEOUT_MS = 600_000
MAX_CONDITIONS = 20
MAX_FILTER_VALUES = 10_000
MAX_SHOWN_S = 30 * 86_400

ItemId = Annotated[str, Field(min_length=1, max_length=256, examples=["1"])]
# Validation of a list stops at its first fault: a report of 500,000 faults would take minutes and gigabytes.
ItemIds = Annotated[list[ItemId], Field(max_length=MAX_HISTORY, fail_fast=True)]
EventType = Annotated[str, Field(min_length=1, max_length=256, examples=["purchase"])]
RecommendationId = Annotated[str, Field(min_length=1, max_length=64)]
Surface = Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,32}$", examples=["home"])]
Code = Annotated[int, Field(ge=0)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Scalar = bool | int | float | str
Whole = Annotated[int, Field(ge=-(10**100), le=10**100)]
SCALAR_SCHEMA = TypeAdapter(bool | Whole | Finite | str).json_schema()
RFC_3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")
LAST_SECOND = 253_402_300_799  # the end of the year 9999; today in milliseconds is more
TIME_SCHEMA = {
    "anyOf": [{"type": "number", "minimum": 0, "maximum": LAST_SECOND}, {"type": "string", "format": "date-time"}]
}
# What a path such as /users/{user_id} can hold: no control characters, and not . or .., which clients resolve.
USER_ID = re.compile(r"^(\.{0,2}[^\x00-\x1f\x7f.]|\.{3})[^\x00-\x1f\x7f]*$")
VALUE_ERROR = "Value error, "  # what pydantic puts before the text of a ValueError


def _seconds(at: object) -> object:
    """Converts a time as text (RFC 3339) or as a `datetime` with a time zone to seconds since 1970."""
    if isinstance(at, str):
        try:
            return _seconds_of_text(at.upper())
        except ValueError as error:
            expected = "seconds since 1970 or a time such as 2026-01-31T12:00:00Z"
            raise ValueError(f"expected {expected}, got {at[:40]!r}") from error
    if isinstance(at, datetime) and at.tzinfo is not None:
        return at.timestamp()
    if isinstance(at, int | float) and at > LAST_SECOND:
        raise ValueError(f"expected seconds since 1970, not milliseconds, and at most {LAST_SECOND}, got {at!r:.40}")
    return at


def _seconds_of_text(text: str) -> float:
    if not RFC_3339.fullmatch(text):
        raise ValueError("not RFC 3339")
    return datetime.fromisoformat(text).timestamp()


def _fits_a_path(user_id: str) -> str:
    if not USER_ID.fullmatch(user_id):
        raise ValueError(f"expected a text without control characters that is neither . nor .., got {user_id[:40]!r}")
    return user_id


UserId = Annotated[
    str,
    Field(min_length=1, max_length=256, examples=["42"], json_schema_extra={"pattern": USER_ID.pattern}),
    AfterValidator(_fits_a_path),
]
Time = Annotated[Finite, Field(ge=0), BeforeValidator(_seconds), WithJsonSchema(TIME_SCHEMA)]


def _are_scalars(values: list[Any]) -> list[Scalar]:
    """Checks that each value is a scalar of limited size; pydantic's union of types would take 2 us a value."""
    for value in values:
        kind = type(value)
        if kind is str or kind is bool:
            continue
        if kind is not int and kind is not float:
            raise ValueError(f"expected a string, a number, true or false, got {kind.__name__}")
        if not (abs(value) <= LARGEST_WHOLE if kind is int else math.isfinite(value)):
            raise ValueError("expected a finite number, and a whole one between -1e100 and 1e100")
    return values


Values = Annotated[
    list[Annotated[Any, WithJsonSchema(SCALAR_SCHEMA)]],
    Field(min_length=1, max_length=MAX_FILTER_VALUES),
    AfterValidator(_are_scalars),
]


class Body(BaseModel):
    """A request's body: no unknown fields, and no conversion between types."""

    model_config = ConfigDict(extra="forbid", strict=True)

    @model_validator(mode="before")
    @classmethod
    def _has_few_fields(cls, fields: object) -> object:
        if not isinstance(fields, dict | BaseModel):
            raise ValueError(f"expected an object, got {type(fields).__name__}")  # noqa: TRY004, pydantic expects it
        return bounded(fields, MAX_FIELDS, "fields")


def bounded(fields: object, limit: int, kind: str) -> object:
    """Returns a JSON value unchanged, or refuses it if it is an object with too many members.

    Args:
        fields: The value, not validated yet. A value that is no object always passes.
        limit: Largest number of members.
        kind: What the members are, as a plural for the error message, such as `fields`.

    Raises:
        ValueError: If the object has more than `limit` members.
    """
    if isinstance(fields, dict) and len(fields) > limit:
        raise ValueError(f"expected at most {limit} {kind}, got {len(fields)}")
    return fields


class Condition(Body):
    """A condition on one attribute: the attribute must meet every operator that is given."""

    any_of: Values | None = Field(
        None, description="The attribute is one of these values; of a list attribute, at least one value is."
    )
    none_of: Values | None = Field(
        None, description="The attribute is none of these values; of a list attribute, no value is."
    )
    gte: Finite | None = Field(None, description="The attribute is a number that is greater than or equal to this one.")
    lte: Finite | None = Field(None, description="The attribute is a number that is less than or equal to this one.")

    @model_validator(mode="after")
    def _has_an_operator(self) -> Self:
        if all(value is None for value in (self.any_of, self.none_of, self.gte, self.lte)):
            raise ValueError("expected at least one of any_of, none_of, gte and lte")
        return self

    @property
    def num_values(self) -> int:
        """The number of values in any_of and none_of."""
        return len(self.any_of or ()) + len(self.none_of or ())


Filter = Annotated[
    dict[str, Condition],
    Field(max_length=MAX_CONDITIONS),
    BeforeValidator(lambda fields: bounded(fields, MAX_CONDITIONS, "conditions")),
]


class HistoryEntry(Body):
    """An item of a history, and what the user did with it, and when."""

    item_id: ItemId
    type: EventType | None = Field(
        None,
        description="An event type that the model learned, such as 'purchase'. Any other type, and none, is unknown. "
        "An item whose last type is a dislike is not returned.",
    )
    at: Time | None = Field(
        None,
        description="When the user did it: seconds since 1970, or a time with its zone as in RFC 3339. If the last "
        "entry is at most 30 minutes old, its bonus goes to items that followed it within a session in training. Other "
        "entries need no time, and their order is that of the list.",
    )


HistoryEntries = Annotated[list[HistoryEntry], Field(max_length=MAX_HISTORY, fail_fast=True)]
_PLAIN_HISTORY, _TYPED_HISTORY = TypeAdapter(ItemIds), TypeAdapter(HistoryEntries)


def _read_history(value: object, _handler: object) -> list[str] | list[HistoryEntry]:
    """Reads a history of ids, or of ids and entries, which become entries all. Ids alone must cost no more than before.

    Pydantic's union of both would take longer, and report every fault twice.
    """
    try:
        return _PLAIN_HISTORY.validate_python(value, strict=True)
    except ValidationError:
        if not isinstance(value, list) or not any(isinstance(one, dict | HistoryEntry) for one in value):
            raise
        entries = [{"item_id": one} if isinstance(one, str) else one for one in value]
        return _TYPED_HISTORY.validate_python(entries, strict=True)


History = Annotated[list[ItemId | HistoryEntry], Field(max_length=MAX_HISTORY), WrapValidator(_read_history)]


class RecommendRequest(Body):
    """A request for recommendations after a user's history."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"history": ["1", "588", "71"], "k": 5}]})

    history: History = Field(
        default_factory=list,
        description="Items, oldest first; may be empty. Each is an item id, or an object with an item id, a type and a "
        "time. A request needs a history, a user_id, or both.",
    )
    at: Time | None = Field(
        None,
        description="When the items are wanted: seconds since 1970, or a time with its zone as in RFC 3339; by default "
        "now. It counts only if the last entry of the history has a time.",
    )
    user_id: UserId | None = Field(
        None,
        description="The user, whose stored history, made of the events sent before, comes before the given one. Of "
        "both together the newest items count. The list is stored as shown to this user.",
    )
    k: int = Field(10, ge=1, le=MAX_K, description="How many items to return.")
    exclude: ItemIds = Field(default_factory=list, description="Items that must not be returned.")
    exclude_types: list[EventType] = Field(
        default_factory=list,
        max_length=MAX_FIELDS,
        description="Items with an event of one of these types in the history must not be returned; needs user_id.",
        examples=[["purchase"]],
    )
    exclude_shown_s: Finite | None = Field(
        None,
        gt=0,
        le=MAX_SHOWN_S,
        description="Items that this user was shown in so many seconds, in the last 200 lists at most, must not be "
        "returned; needs user_id.",
    )
    after: RecommendationId | None = Field(
        None,
        description="recommendation_id of the page before this one: none of the items of that page and of the pages "
        "before it is returned. The request of that page must have had a user_id, a surface or an `after`.",
    )
    surface: Surface | None = Field(
        None, description="Where the list is shown. It changes no list; with it, the list is stored as shown."
    )
    exclude_history: bool | None = Field(
        None,
        description="Whether items of the history are excluded too. By default what suits the model: true, unless "
        "users in its data often choose the same item again.",
    )
    filter: Filter = Field(
        default_factory=dict,
        description="Conditions by attribute; an item must meet all. The attribute item_id makes an allow-list.",
        examples=[{"genres": {"any_of": ["Comedy"]}, "year": {"gte": 1990}}],
    )
    new_item_share: float = Field(
        0.0,
        ge=0,
        le=1,
        description="Share of the k results, rounded up, that is reserved for items without interactions in training, "
        "such as items written since; with 0 they compete by score alone.",
    )
    routing_key: str | None = Field(
        None,
        min_length=1,
        max_length=256,
        description="Key of a canary or shadow model: all requests with the same key go to the same model. By default "
        "the user_id; without one, each request has a random key.",
    )
    beam_width: int | None = Field(
        None, ge=1, le=MAX_BEAM_WIDTH, description="Beams kept at every level of the search; at least k."
    )
    timeout_ms: int | None = Field(
        None,
        ge=1,
        le=MAX_TIMEOUT_MS,
        description="Deadline in milliseconds; after it the answer is 504, and the search is dropped.",
    )

    @model_validator(mode="after")
    def _filters_by_few_values(self) -> Self:
        if self.filter:
            total = sum(condition.num_values for condition in self.filter.values())
            if total > MAX_FILTER_VALUES:
                raise ValueError(
                    f"filter: expected at most {MAX_FILTER_VALUES} values in all conditions together, got {total}"
                )
        return self
