"""What the event store holds: events, impressions, and the entries of a user's history."""

from dataclasses import dataclass
from typing import NamedTuple


@dataclass(frozen=True, slots=True)
class Event:
    """One action of a user.

    Attributes:
        event_id: Id of the event. Of several events of one user with the same id, only the first is stored.
        user_id: Id of the user.
        item_id: Id of the item that the user acted on.
        type: What the user did, such as `view` or `purchase`.
        at: When it happened, in seconds since 1970; finite.
        value: A number that belongs to the action, such as a price or a rating; None if there is none.
        recommendation_id: The recommendation that led to the action; None if no recommendation did.
    """

    event_id: str
    user_id: str
    item_id: str
    type: str
    at: float
    value: float | None = None
    recommendation_id: str | None = None


@dataclass(frozen=True, slots=True)
class ForgottenUser:
    """A record in the stream of events: this user was forgotten, so all earlier events of this user must be deleted.

    Events of the user that follow this record belong to a new user with the same id.

    Attributes:
        user_id: Id of the user.
    """

    user_id: str


Record = Event | ForgottenUser


@dataclass(frozen=True)
class RecordPage:
    """Some records of the stream.

    Attributes:
        records: The records; empty if the stream has no more.
        position: The position after the last of these records: printable ASCII without spaces, below 400 characters.
    """

    records: list[Record]
    position: str


@dataclass(frozen=True, slots=True)
class Impression:
    """One list of items that was shown to a user.

    Attributes:
        recommendation_id: Id of the recommendation that chose the items.
        user_id: Id of the user; None if the request named no user.
        surface: Where the list was shown, such as `home`; None if the request named no place.
        model_version: The model that chose the items.
        role: The role of this model at that time: `active`, `canary` or `shadow`.
        item_ids: The items, the first one first.
        at: When the list was made, in seconds since 1970; finite.
        after: The recommendation whose next page this list is; None for a first page.
        trial: The trial in whose counts the list counts: the revision of the rollout that chose the model; None if it
            counts nowhere.
        bucket: The random group of users to which the user belongs, from 0.
    """

    recommendation_id: str
    user_id: str | None
    surface: str | None
    model_version: str
    role: str
    item_ids: tuple[str, ...]
    at: float
    after: str | None = None
    trial: int | None = None
    bucket: int = 0


class HistoryEntry(NamedTuple):
    """One entry of a user's history.

    Attributes:
        item_id: Id of the item that the user acted on.
        type: What the user did.
        at: When it happened, in seconds since 1970.
    """

    item_id: str
    type: str
    at: float


@dataclass(frozen=True)
class UserPage:
    """A part of what is stored of one user.

    Attributes:
        history: The user's history, oldest entry first. Only the first page has it.
        events: Some of the user's events that are still in the stream, in the order of the stream.
        impressions: What the user was shown, oldest first, as far as it has not expired. Only the first page has it.
        next_after: The position from which the next page goes on; None on the last page.
    """

    history: list[HistoryEntry]
    events: list[Event]
    impressions: list[Impression]
    next_after: str | None = None
