"""What the stores share when they count what came of impressions."""

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

from rqrec.service.events.event import Event, Impression
from rqrec.service.events.store import StoreLimits
from rqrec.service.outcomes.outcome_counts import NO_SURFACE, OutcomeKind

ANYBODY = "*"
MARK_BYTES = 16


class NamedOutcome(NamedTuple):
    """An outcome of the recommendation that an event names.

    Attributes:
        recommendation_id: The recommendation.
        user_id: The event's user.
        kind: What came of it.
    """

    recommendation_id: str
    user_id: str
    kind: OutcomeKind


def named_outcomes(events: Sequence[Event], limits: StoreLimits) -> list[NamedOutcome]:
    """Returns the outcomes that some events name, each once.

    Args:
        events: The events.
        limits: Says which types of events are outcomes.
    """
    found = (
        NamedOutcome(event.recommendation_id, event.user_id, kind)
        for event in events
        if event.recommendation_id is not None
        for kind in limits.outcomes_of(event.type)
    )
    return list(dict.fromkeys(found))


def user_mark(recommendation_id: str, user_id: str | None) -> str:
    """Returns a text by which a store recognises the user of an early outcome; ANYBODY for an impression without user.

    It is a hash, so it is no data about a person that must be deleted with the user.

    Args:
        recommendation_id: The recommendation.
        user_id: Id of the user; None if there is none.
    """
    if user_id is None:
        return ANYBODY
    text = f"{len(recommendation_id)}:{recommendation_id}{user_id}"
    return hashlib.blake2b(text.encode(), digest_size=MARK_BYTES).hexdigest()


def surface_of(impression: Impression) -> str:
    """Returns the name under which the surface of an impression is counted."""
    return NO_SURFACE if impression.surface is None else impression.surface
