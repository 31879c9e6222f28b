"""Converts the history of a request to the form that a model reads: item ids, and a number for each event type."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, cast

import numpy as np

from rqrec.models.array_types import IntArray
from rqrec.models.bundle.manifest import Manifest
from rqrec.models.search.history.transitions import is_in_session
from rqrec.service.users.entry import Entry

UNKNOWN_TYPE = 0


class History(NamedTuple):
    """A user's history in the form that a model reads.

    Attributes:
        item_ids: Ids of the items that the model reads, oldest first.
        types: For each of these items, the number of its event type, 0 for an unknown type; int64. None if the history
            has only item ids, or if the model knows none of its event types: then all types count as unknown.
        excluded: Ids of items that must not be recommended: those whose last event is a dislike, and those with an
            event type in `EventTypes.excluding`. The model does not read events of these excluding types.
        in_session: Whether the request belongs to the session of the last of the items.
    """

    item_ids: Sequence[str]
    types: IntArray | None = None
    excluded: Sequence[str] = ()
    in_session: bool = False


@dataclass(frozen=True)
class EventTypes:
    """The event types that a model knows, such as `purchase`: what the user did with an item of the history.

    Attributes:
        number_of: The model's number of each event type, from 1 on, by the name of the type.
        excluding: Names of other event types. The model does not read their items, and must not recommend them.
        disliking: Names of event types that are dislikes. The model reads such an event, but must not recommend an item
            whose last event is one.
    """

    number_of: Mapping[str, int]
    excluding: frozenset[str]
    disliking: frozenset[str] = frozenset()

    @classmethod
    def from_manifest(cls, manifest: Manifest) -> "EventTypes":
        """Makes the event types of a model from the manifest of its bundle."""
        numbers = {name: number for number, name in enumerate(manifest.event_types, start=1)}
        return cls(numbers, frozenset(manifest.excluding_types), frozenset(manifest.disliking_types))

    def in_session_before(self, entries: Sequence[str | Entry], at: float | None = None) -> bool:
        """Returns whether a request belongs to the session of the last item but one that the model reads.

        Args:
            entries: The items of the history, as in `read`.
            at: When the request is made, in seconds since 1970; None for now.
        """
        times = [one.at for one in entries if not isinstance(one, str) and one.type not in self.excluding]
        return is_in_session(times[-2] if len(times) > 1 else None, time.time() if at is None else at)

    def read(self, entries: Sequence[str | Entry], at: float | None = None) -> History:
        """Converts the history of a request to the form that the model reads.

        Args:
            entries: The items, oldest first: either only item ids, or only entries that may have an event type.
            at: When the request is made, in seconds since 1970; None for now.
        """
        if not entries or isinstance(entries[0], str):
            return History(cast("Sequence[str]", entries))
        read = cast("Sequence[Entry]", entries)
        kinds, excluded = {entry.type for entry in read}, list[str]()
        if not self.excluding.isdisjoint(kinds):
            excluded = [entry.item_id for entry in read if entry.type in self.excluding]
            read = [entry for entry in read if entry.type not in self.excluding]
        if not self.disliking.isdisjoint(kinds):
            last_type = {entry.item_id: entry.type for entry in read}
            excluded += [item_id for item_id, kind in last_type.items() if kind in self.disliking]
        item_ids, types = [entry.item_id for entry in read], None
        if not kinds.isdisjoint(self.number_of):
            types = np.array([self.number_of.get(entry.type or "", UNKNOWN_TYPE) for entry in read], dtype=np.int64)
        last_time = read[-1].at if read else None
        return History(item_ids, types, excluded, is_in_session(last_time, time.time() if at is None else at))
