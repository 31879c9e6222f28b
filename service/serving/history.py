"""Reads a request's history for one model: its item ids, and the model's numbers of their event types."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, cast

import numpy as np

from rqrec.models.array_types import IntArray
from rqrec.models.bundle.manifest import Manifest
from rqrec.service.contract import HistoryEntry

UNKNOWN_TYPE = 0


class History(NamedTuple):
    """A history as a model reads it.

    Attributes:
        item_ids: The items that are read, oldest first.
        types: The number of each item's event type, int64, 0 for unknown; None if all are unknown.
        excluded: Items that are not read and must not be returned.
    """

    item_ids: Sequence[str]
    types: IntArray | None = None
    excluded: Sequence[str] = ()


@dataclass(frozen=True)
class EventTypes:
    """The event types of a model.

    Attributes:
        number_of: The number of each type that the model reads, from 1 on.
        excluding: The types that are not read and only exclude their item.
    """

    number_of: Mapping[str, int]
    excluding: frozenset[str]

    @classmethod
    def from_manifest(cls, manifest: Manifest) -> "EventTypes":
        """Takes the types from the manifest of the model's bundle."""
        numbers = {name: number for number, name in enumerate(manifest.event_types, start=1)}
        return cls(numbers, frozenset(manifest.excluding_types))

    def read(self, entries: Sequence[str | HistoryEntry]) -> History:
        """Reads a history.

        Args:
            entries: Item ids only, or entries only, oldest first.
        """
        if not entries or isinstance(entries[0], str):
            return History(cast("Sequence[str]", entries))
        typed = cast("Sequence[HistoryEntry]", entries)
        read = [entry for entry in typed if entry.type not in self.excluding]
        excluded = [entry.item_id for entry in typed if entry.type in self.excluding]
        item_ids, types = [entry.item_id for entry in read], None
        if self.number_of:
            types = np.array([self.number_of.get(entry.type or "", UNKNOWN_TYPE) for entry in read], dtype=np.int64)
        return History(item_ids, types, excluded)
