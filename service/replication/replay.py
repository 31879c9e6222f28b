"""Applies events of the change log to a state of the catalogue. Skips and counts events that cannot be applied."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from rqrec.models.items.item_tokenizer import ItemTokenizer
from rqrec.service.catalogue.apply import apply_changes, compacted
from rqrec.service.catalogue.changes import Change, Outcome, Result, from_json
from rqrec.service.catalogue.check_change import check_change
from rqrec.service.catalogue.snapshot import Snapshot
from rqrec.service.replication.log_view import Event
from rqrec.service.replication.positions import is_before
from rqrec.service.replication.reconcile import UNUSABLE, state_of
from rqrec.service.replication.stamped_entries import StampedEntry
from rqrec.service.replication.stamps import Stamps
from rqrec.service.telemetry import Metrics

NOTHING = "nothing"  # the change of the first event of an epoch
EFFECTIVE = (Result.ADDED, Result.REPLACED, Result.DELETED)
logger = logging.getLogger("rqrec")


class EventBatch(NamedTuple):
    """Some successive events of the change log, whose changes are applied together.

    Attributes:
        changes: The changes to apply, each with its event.
        position: The position of the last event of the batch.
        num_events: The number of events of the batch, including those whose change is not applied. The version of the
            catalogue grows by this number.
    """

    changes: Sequence[tuple[Event, Change]]
    position: str
    num_events: int


class Replay:
    """Reads the events of one model's change log, and applies them to states of the catalogue.

    Args:
        published: The state of the catalogue when the model was published, without later changes.
        tokenizer: The model's item tokenizer, which computes the vectors of new items.
        metrics: Counts changes by result.
        keep_rows: Unused rows of the item table are removed, to free memory, only if there are at least this many; see
            `service.catalogue.apply.compacted`. A row is unused when its item was replaced or deleted later.
    """

    def __init__(self, published: Snapshot, tokenizer: ItemTokenizer, metrics: Metrics, *, keep_rows: int) -> None:
        self._published = published
        self._tokenizer = tokenizer
        self._metrics = metrics
        self._keep_rows = keep_rows

    def state_of(self, entries: Mapping[str, StampedEntry], version: int) -> tuple[Snapshot, Stamps]:
        """Makes the state of the catalogue from the content of all written items. Skips and counts invalid content.

        Args:
            entries: The content of each written item, with the position of its last change (its stamp), by item id.
            version: The `catalogue_version` of the new state.

        Returns:
            The state, and the stamps of the items that were not skipped.
        """
        bad: list[str] = []

        def on_skip(item_id: str, error: Exception) -> None:
            bad.append(item_id)
            self.skip(f"to {item_id!r}", error)

        snapshot = state_of(self._published, entries, self._tokenizer, version, on_skip)
        stamps = {item_id: stamped.stamp for item_id, stamped in entries.items() if item_id not in set(bad)}
        return snapshot, Stamps(stamps)

    def batches(self, events: Sequence[Event], stamps: Stamps) -> Iterator[EventBatch]:
        """Yields events in batches, in their order. Leaves out a change of an item if a later one was applied already.

        A change that was copied from another model's log may be older than changes that come before it in this stream.
        The stamps tell which change of an item is later, but an unfinished batch is not in them yet. So, if a batch has
        a change of an item, it ends before a copied change of that item.

        Args:
            events: The events, in the order of the stream.
            stamps: For each written item in the state before the events, the position of its last change. The caller
                must call `Replay.note` with these stamps and each batch before it asks for the next batch.
        """
        changes: list[tuple[Event, Change]] = []
        done = 0
        for number, event in enumerate(events):
            change = self.read(event)
            if change is None:
                continue
            if event.stamp != event.position and any(change.item_id == other.item_id for _, other in changes):
                yield EventBatch(changes, events[number - 1].position, number - done)
                changes, done = [], number
            if is_before(stamps.stamp(change.item_id), event.stamp):
                changes.append((event, change))
        if done < len(events):
            yield EventBatch(changes, events[-1].position, len(events) - done)

    def apply(self, before: Snapshot, batch: EventBatch) -> tuple[Snapshot, list[Outcome | None]]:
        """Applies the changes of a batch to a state.

        Args:
            before: The state before the batch; it is not modified.
            batch: The batch.

        Returns:
            The state after the batch, and the outcome of each change; None for a change that could not be applied.
        """
        version = before.catalogue_version + batch.num_events
        after, outcomes = self._apply(before, [change for _, change in batch.changes], version)
        return compacted(after, at_least=self._keep_rows), outcomes

    def note(self, stamps: Stamps, batch: EventBatch, outcomes: Sequence[Outcome | None]) -> list[str]:
        """Updates `stamps` after a batch was applied, and counts the outcomes of the batch in the metrics.

        Args:
            stamps: For each written item in the state, the position of its last change. This call modifies them.
            batch: The batch.
            outcomes: The outcome of each change, as `Replay.apply` returned them.

        Returns:
            The ids of the items that changed, each once.
        """
        written = []
        for (event, change), outcome in zip(batch.changes, outcomes, strict=True):
            if outcome is None:
                continue
            self._metrics.catalogue_changes.labels(outcome.result.name.lower()).inc()
            if outcome.result is Result.FORGOTTEN:
                stamps.drop(change.item_id)
                written.append(change.item_id)
            if outcome.result in EFFECTIVE:
                stamps.note(change.item_id, event.stamp)
                written.append(change.item_id)
        return list(dict.fromkeys(written))

    def read(self, event: Event) -> Change | None:
        """Returns the change of an event; None if the event has no change, or if the change is invalid and skipped."""
        if event.change == NOTHING:
            return None
        try:
            change = from_json(event.change)
            check_change(change, self._published, self._tokenizer)
        except UNUSABLE as error:
            self.skip(event.position, error)
            return None
        return change

    def skip(self, what: str, error: Exception) -> None:
        """Counts and logs a change that cannot be read or applied.

        Args:
            what: The position of the change, or the item that it changes.
            error: Why the change is skipped.
        """
        logger.error("skipped change %s of the catalogue: %.500s", what, error)
        self._metrics.catalogue_changes.labels("bad").inc()

    def _apply(
        self, before: Snapshot, changes: Sequence[Change], version: int
    ) -> tuple[Snapshot, list[Outcome | None]]:
        """Applies changes; bisects to find and skip a change that cannot be applied."""
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
