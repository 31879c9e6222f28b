"""Checks the events of a request one by one, so that a faulty event does not make the service refuse the others."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from pydantic import ValidationError

from rqrec.models.bundle.tables import CONTROL
from rqrec.service.contract.events import MAX_NAMED_FAULTS, UserEvent
from rqrec.service.contract.fields import VALUE_ERROR
from rqrec.service.errors import InvalidPart
from rqrec.service.events.event import Event
from rqrec.service.ids import random_uuid
from rqrec.service.users.event_rules import EventRules

MAX_AHEAD_S = 86_400.0
NO_ITEM_ID = re.compile(rf"{CONTROL}|^\s*$")  # no item that was trained on can have such an id


@dataclass(frozen=True)
class EventFault:
    """One fault of an event.

    Attributes:
        index: Position of the event in the request.
        place: The names and numbers that lead from the event to the faulty value; empty for the event itself.
        detail: What is wrong.
    """

    index: int
    place: tuple[int | str, ...]
    detail: str


class CheckedEvents(NamedTuple):
    """The events of a request after the check.

    Attributes:
        events: The good events.
        num_rejected: Number of faulty events.
        faults: The first faults of these.
    """

    events: list[Event]
    num_rejected: int
    faults: list[EventFault]


def check_events(events: Sequence[object], rules: EventRules, *, now: float) -> CheckedEvents:
    """Checks the events of a request one by one.

    Args:
        events: The events as parsed JSON; each should be the fields of a `UserEvent`.
        rules: The event types of the service.
        now: The present time in seconds since 1970. It is the time of events that have none.
    """
    good, faults = list[Event](), list[EventFault]()
    for index, fields in enumerate(events):
        try:
            event = UserEvent.model_validate(fields)
            _check(event, rules, now)
        except (ValidationError, InvalidPart) as error:
            if len(faults) < MAX_NAMED_FAULTS:
                faults += _faults(index, error)
        else:
            good.append(_stored(event, now))
    return CheckedEvents(good, len(events) - len(good), faults[:MAX_NAMED_FAULTS])


def _faults(index: int, error: ValidationError | InvalidPart) -> list[EventFault]:
    if isinstance(error, InvalidPart):
        return [EventFault(index, error.place, str(error))]
    found = error.errors(include_url=False, include_context=False, include_input=False)
    return [EventFault(index, fault["loc"], fault["msg"].removeprefix(VALUE_ERROR)) for fault in found]


def _check(event: UserEvent, rules: EventRules, now: float) -> None:
    """Raises InvalidPart if an event is faulty in a way that its schema does not tell."""
    rules.check_type(event.type)
    if NO_ITEM_ID.search(event.item_id):
        raise InvalidPart(
            ("item_id",),
            f"expected a text without control characters and not only of spaces, got {event.item_id[:40]!r}",
        )
    if event.at is not None and event.at > now + MAX_AHEAD_S:
        raise InvalidPart(
            ("at",), f"expected seconds since 1970 and a time at most a day in the future, got {event.at:.0f}"
        )


def _stored(event: UserEvent, now: float) -> Event:
    return Event(
        event_id=event.event_id or random_uuid(),
        user_id=event.user_id,
        item_id=event.item_id,
        type=event.type,
        at=now if event.at is None else event.at,
        value=event.value,
        recommendation_id=event.recommendation_id,
    )
