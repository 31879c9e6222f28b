"""The bodies of requests and replies about events and users, shared by the service and the client."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema

from rqrec.service.contract.fields import Body, EventType, Finite, ItemId, RecommendationId, Time, UserId

MAX_EVENTS = 1000
MAX_NAMED_FAULTS = 20


class UserEvent(Body):
    """One action of a user."""

    user_id: UserId
    item_id: ItemId = Field(description="The item, which the catalogue need not hold.")
    type: EventType = Field(description="What the user did; one of the event types of the service.")
    at: Time | None = Field(
        None,
        description="When it happened: seconds since 1970, or a time with its zone as in RFC 3339. At most a day in "
        "the future; by default now.",
    )
    value: Finite | None = Field(None, description="A number that belongs to the action, such as a price or a rating.")
    recommendation_id: RecommendationId | None = Field(
        None, description="The recommendation that led to the action, so that the action is its outcome."
    )
    event_id: Annotated[str, Field(min_length=1, max_length=128)] | None = Field(
        None,
        description="Id of the event, unique for its user. If an event is sent again with the same id, it counts once. "
        "Without an id, the service makes one; then an event that is sent twice counts twice.",
    )


EVENTS_SCHEMA = {"type": "array", "maxItems": MAX_EVENTS, "items": UserEvent.model_json_schema()}


class EventsRequest(Body):
    """Events of any users, in the order in which they happened."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"events": [{"user_id": "42", "item_id": "588", "type": "view"}]}]}
    )

    # The service checks each event by itself, so that one faulty event does not make it refuse the others.
    events: Annotated[list[Any], Field(max_length=MAX_EVENTS), WithJsonSchema(EVENTS_SCHEMA)]


class RejectedEvent(BaseModel):
    """One fault of an event that was not stored."""

    index: int = Field(description="Position of the event in the request, from 0.")
    pointer: str = Field(description="The faulty value, as a JSON pointer into the request.")
    detail: str


class EventsReply(BaseModel):
    """What became of the events."""

    accepted: int = Field(description="Number of events that are stored now; they are durable.")
    duplicates: int = Field(description="Number of events that were stored before, by their event_id.")
    num_rejected: int = Field(description="Number of faulty events, which are not stored.")
    rejected: list[RejectedEvent] = Field(description=f"The first {MAX_NAMED_FAULTS} faults of these events.")


class StoredEntry(BaseModel):
    """One entry of a user's history."""

    item_id: str
    type: str
    at: float = Field(description="Seconds since 1970.")


class StoredEvent(StoredEntry):
    """One stored event of a user."""

    event_id: str
    value: float | None
    recommendation_id: str | None


class StoredImpression(BaseModel):
    """One list that a user was shown."""

    recommendation_id: str
    surface: str | None
    model_version: str
    role: str
    item_ids: list[str]
    at: float = Field(description="Seconds since 1970.")
    after: str | None = Field(description="The recommendation whose next page this is; null for a first page.")


class UserReply(BaseModel):
    """What is stored of one user: all pages together have everything."""

    user_id: str
    history: list[StoredEntry] = Field(
        description="What recommendations read, oldest first. Only the first page has it."
    )
    events: list[StoredEvent] = Field(
        description="Some of the events that were not exported yet, in the order of arrival. A page may have fewer "
        "than `limit`, or none, and still not be the last one."
    )
    impressions: list[StoredImpression] = Field(
        description="The lists that were shown and have not expired. Only the first page has them."
    )
    next_after: str | None = Field(description="Value of `after` for the next page; null on the last page.")
