"""The body of a request for recommendations."""

from typing import Annotated, Self

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError, WrapValidator, model_validator

from rqrec.service.contract.fields import (
    MAX_FIELDS,
    MAX_HISTORY,
    MAX_K,
    Body,
    EventType,
    Finite,
    ItemId,
    ItemIds,
    RecommendationId,
    Surface,
    Time,
    UserId,
)
from rqrec.service.contract.filter import MAX_FILTER_VALUES, Filter
from rqrec.service.contract.list_control import (
    BOOSTS_TEXT,
    CAPS_TEXT,
    DIVERSITY_TEXT,
    PINS_TEXT,
    Boosts,
    Caps,
    Pins,
    check_ranks,
)

MAX_BEAM_WIDTH = 500
MAX_TIMEOUT_MS = 600_000
MAX_SHOWN_S = 30 * 86_400


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
        "such as items written since; with 0 they compete by score alone. Must be 0 beside caps, boosts, pins and "
        "diversity.",
    )
    caps: Caps = Field(default_factory=dict, description=CAPS_TEXT, examples=[{"genres": 2}])
    boosts: Boosts = Field(
        default_factory=list,
        description=BOOSTS_TEXT,
        examples=[[{"filter": {"year": {"gte": 1995}}, "factor": 1.5}]],
    )
    pins: Pins = Field(default_factory=list, description=PINS_TEXT, examples=[[{"item_id": "1", "rank": 3}]])
    diversity: float = Field(0.0, ge=0, le=1, description=DIVERSITY_TEXT)
    routing_key: str | None = Field(
        None,
        min_length=1,
        max_length=256,
        description="Key of a canary or shadow model: all requests with the same key go to the same model. By default "
        "the user_id; without one, each request has a random key.",
    )
    model_version: str | None = Field(
        None,
        min_length=1,
        max_length=256,
        description="Version of the loaded model that answers, whatever its role; GET /readyz names the loaded models. "
        "By default the routing_key chooses, which has no effect beside it. Such a list counts in no trial of a "
        "canary, and no shadow model gets a copy of the request.",
    )
    beam_width: int | None = Field(
        None, ge=1, le=MAX_BEAM_WIDTH, description="Beams kept at every level of the search; at least k."
    )
    explain: bool = Field(
        False,
        description="Whether to explain the list: what each history item adds to each score, and what the codes stand "
        "for. It takes up to three times as long.",
    )
    timeout_ms: int | None = Field(
        None,
        ge=1,
        le=MAX_TIMEOUT_MS,
        description="Deadline in milliseconds; after it the answer is 504, and the search is dropped.",
    )

    @property
    def controls_list(self) -> bool:
        """Whether the request has caps, boosts, pins or diversity."""
        return bool(self.caps or self.boosts or self.pins or self.diversity)

    @model_validator(mode="after")
    def _filters_by_few_values(self) -> Self:
        if self.filter or self.boosts:
            filters = [self.filter, *(boost.filter for boost in self.boosts)]
            total = sum(condition.num_values for one in filters for condition in one.values())
            if total > MAX_FILTER_VALUES:
                name = "filter and boosts" if self.boosts else "filter"
                raise ValueError(
                    f"{name}: expected at most {MAX_FILTER_VALUES} values in all conditions together, got {total}"
                )
        return self

    @model_validator(mode="after")
    def _controls_fit(self) -> Self:
        if self.controls_list:
            check_ranks(self.pins, self.k)
            if self.new_item_share:
                raise ValueError(
                    f"new_item_share: expected 0 beside caps, boosts, pins and diversity, got {self.new_item_share}"
                )
        return self
