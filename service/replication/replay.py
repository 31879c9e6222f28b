"""Events of the stream → the state that they lead to; what cannot be read or applied is skipped."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from rqrec.models.items.item_tokenizer import ItemTokenizer
from rqrec.service.catalogue.apply import apply_changes, check, compacted
from rqrec.service.catalogue.changes import Change, Outcome, Result, from_json
from rqrec.service.catalogue.snapshot import Snapshot
from rqrec.service.replication.log_state import Event, Stamped, is_before
from rqrec.service.replication.reconcile import UNUSABLE, Stamps, state_of
from rqrec.service.telemetry import Metrics

NOTHING = "nothing"  # the first event of an epoch
EFFECTIVE = (Result.ADDED, Result.REPLACED, Result.DELETED)
logger = logging.getLogger("rqrec")


class Portion(NamedTuple):
    """Changes that can be applied together.

    Attributes:
        changes: With their events.
        position: Of the last event that is done with them.
        num_events: How many events that makes, those skipped included.
    """

    changes: Sequence[tuple[Event, Change]]
    position: str
    num_events: int


class Replay:
    """Applies events of one model's stream.

    Args:
        published: The state that the bundle was published with.
        tokenizer: Makes the vectors of items written since.
        metrics: Told of changes.
        keep_rows: So many rows of items that are gone stay in a state.
    """

    def __init__(self, published: Snapshot, tokenizer: ItemTokenizer, metrics: Metrics, *, keep_rows: int) -> None:
        self._published = published
        self._tokenizer = tokenizer
        self._metrics = metrics
        self._keep_rows = keep_rows

    def state_of(self, entries: Mapping[str, Stamped], version: int) -> tuple[Snapshot, Stamps]:
        """The state of entries, without those that this model cannot take; see `reconcile.state_of`."""
        bad: list[str] = []

        def skipped(item_id: str, error: Exception) -> None:
            bad.append(item_id)
            self.skip(f"to {item_id!r}", error)

        snapshot = state_of(self._published, entries, self._tokenizer, version, skipped)
        stamps = {item_id: stamped.stamp for item_id, stamped in entries.items() if item_id not in set(bad)}
        return snapshot, Stamps(stamps)

    def portions(self, events: Sequence[Event], stamps: Stamps) -> Iterator[Portion]:
        """What is to be applied, in order; what is older than what is there already is not.

        Args:
            events: In their order.
            stamps: Of the state before; the caller notes every portion's before it takes the next.
        """
        changes: list[tuple[Event, Change]] = []
        done = 0
        for number, event in enumerate(events):
            change = self.read(event)
            if change is None:
                continue
            if event.stamp != event.position and any(change.item_id == other.item_id for _, other in changes):
                yield Portion(changes, events[number - 1].position, number - done)
                changes, done = [], number
            if is_before(stamps.stamp(change.item_id), event.stamp):
                changes.append((event, change))
        if done < len(events):
            yield Portion(changes, events[-1].position, len(events) - done)

    def apply(self, before: Snapshot, portion: Portion) -> tuple[Snapshot, list[Outcome | None]]:
        """The state after a portion, and what came of each change; None of one that was skipped."""
        version = before.catalogue_version + portion.num_events
        after, outcomes = self._apply(before, [change for _, change in portion.changes], version)
        return compacted(after, at_least=self._keep_rows), outcomes

    def note(self, stamps: Stamps, portion: Portion, outcomes: Sequence[Outcome | None]) -> list[str]:
        """Stamps what was written; returns those items."""
        written = []
        for (event, change), outcome in zip(portion.changes, outcomes, strict=True):
            if outcome is None:
                continue
            self._metrics.catalogue_changes.labels(outcome.result.name.lower()).inc()
            if outcome.result in EFFECTIVE:
                stamps.note(change.item_id, event.stamp)
                written.append(change.item_id)
        return list(dict.fromkeys(written))

    def read(self, event: Event) -> Change | None:
        """The change of an event; None where it is none, or is for another model."""
        if event.change == NOTHING:
            return None
        try:
            change = from_json(event.change)
            check(change, self._published, self._tokenizer)
        except UNUSABLE as error:
            self.skip(event.position, error)
            return None
        return change

    def skip(self, what: str, error: Exception) -> None:
        """Counts and logs a change that cannot be read or applied."""
        logger.error("change %s of the catalogue is skipped: %.500s", what, error)
        self._metrics.catalogue_changes.labels("bad").inc()

    def _apply(
        self, before: Snapshot, changes: Sequence[Change], version: int
    ) -> tuple[Snapshot, list[Outcome | None]]:
        """Where a change cannot be applied it is found by halves, and skipped."""
        try:
            after, outcomes = apply_changes(before, changes, self._tokenizer, catalogue_version=version)
        except UNUSABLE as error:
            if len(changes) == 1:
                self.skip(f"to {changes[0].item_id!r}", error)
                return apply_changes(before, [], self._tokenizer, catalogue_version=version)[0], [None]
            half = len(changes) // 2
            between, first = self._apply(before, changes[:half], version)
            after, second = self._apply(between, changes[half:], version)
            return after, first + second
        return after, list(outcomes)
