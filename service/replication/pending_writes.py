"""Writes that wait until this replica has applied the change that they appended to the change log."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from rqrec.models.trie.trie import NO_LEAF
from rqrec.service.catalogue.changes import Change, Outcome, Put, Result
from rqrec.service.catalogue.snapshot import Snapshot
from rqrec.service.replication.positions import is_before
from rqrec.service.replication.replay import EventBatch
from rqrec.service.replication.stamps import Stamps


@dataclass
class PendingWrite:
    """A write request that waits until this replica has applied its change.

    Attributes:
        change: The change of the request.
        outcome: Future that gets the outcome of the change.
        position: The position of the change in the stream; empty until Redis has confirmed that it was appended.
    """

    change: Change
    outcome: "asyncio.Future[Outcome]"
    position: str = ""


class PendingWrites:
    """All write requests of a replica that wait until their change is applied."""

    def __init__(self) -> None:
        self._pending: dict[str, PendingWrite] = {}

    @contextmanager
    def wait(self, change: Change, token: str) -> Iterator[PendingWrite]:
        """Context manager: adds a write to the waiting ones and yields it; the end of the block removes the write.

        Args:
            change: The change that is written.
            token: Random id that the event of this change has in the stream (`Event.token`).
        """
        write = self._pending[token] = PendingWrite(change, asyncio.get_running_loop().create_future())
        try:
            yield write
        finally:
            write.outcome.cancel()  # wakes until_none()
            del self._pending[token]

    async def until_none(self) -> None:
        """Waits until no write request of this replica waits for its change any more."""
        while self._pending:
            await asyncio.wait([write.outcome for write in self._pending.values()])
            await asyncio.sleep(0)  # lets the writers leave their blocks

    def resolve(self, batch: EventBatch, outcomes: Sequence[Outcome | None]) -> None:
        """Sets the outcome of every waiting write whose change was in a batch that this replica has applied.

        Args:
            batch: The batch.
            outcomes: The outcome of each change of the batch. None for a change that could not be applied: its write
                goes on waiting, until it times out.
        """
        for (event, _), outcome in zip(batch.changes, outcomes, strict=True):
            write = self._pending.get(event.token)
            if outcome is not None and write is not None and not write.outcome.done():
                write.outcome.set_result(outcome)

    def resolve_from_entries(self, before: Snapshot, after: Snapshot, stamps: Stamps) -> None:
        """Sets the outcome of every waiting write whose change was loaded with the contents of all written items.

        This happens if this replica has replaced its state by the contents in the change log. These contain the change,
        so its event is not applied here any more.

        Args:
            before: The state before the contents were loaded.
            after: The state with the loaded contents.
            stamps: For each written item in `after`, the position of its last change.
        """
        for write in self._pending.values():
            item_id = write.change.item_id
            if not write.position or write.outcome.done() or is_before(stamps.stamp(item_id), write.position):
                continue
            entry = after.entries.get(item_id)
            if entry is None and isinstance(write.change, Put):
                continue  # the item was added and deleted again: the write times out and is not confirmed
            result = Result.ADDED if before.table.find([item_id])[0] == NO_LEAF else Result.REPLACED
            write.outcome.set_result(Outcome(Result.DELETED) if entry is None else Outcome(result, entry.semantic_id))
