"""Writes that wait until this replica has applied their change."""

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
    """A write that waits for its outcome.

    Attributes:
        change: The change that was written.
        outcome: Gets the outcome of the change.
        position: The position of the change's event; empty until Redis has confirmed the event.
    """

    change: Change
    outcome: "asyncio.Future[Outcome]"
    position: str = ""


class PendingWrites:
    """All pending writes of a replica, by the token of their event."""

    def __init__(self) -> None:
        self._pending: dict[str, PendingWrite] = {}

    @contextmanager
    def wait(self, change: Change, token: str) -> Iterator[PendingWrite]:
        """Registers a write that waits inside the block.

        Args:
            change: The change that is written.
            token: The token of the change's event.
        """
        write = self._pending[token] = PendingWrite(change, asyncio.get_running_loop().create_future())
        try:
            yield write
        finally:
            write.outcome.cancel()  # wakes until_none()
            del self._pending[token]

    async def until_none(self) -> None:
        """Waits until no write waits any more."""
        while self._pending:
            await asyncio.wait([write.outcome for write in self._pending.values()])
            await asyncio.sleep(0)  # lets the writers leave their blocks

    def resolve(self, batch: EventBatch, outcomes: Sequence[Outcome | None]) -> None:
        """Gives the writes of an applied batch their outcomes.

        Args:
            batch: The batch.
            outcomes: The outcome of each change; a write whose change was skipped gets none.
        """
        for (event, _), outcome in zip(batch.changes, outcomes, strict=True):
            write = self._pending.get(event.token)
            if outcome is not None and write is not None and not write.outcome.done():
                write.outcome.set_result(outcome)

    def resolve_from_entries(self, before: Snapshot, after: Snapshot, stamps: Stamps) -> None:
        """Ends the writes whose change another replica has already saved as an entry: each gets its outcome.

        Args:
            before: The state before these entries were read.
            after: The state with these entries.
            stamps: The stamps of the items in `after`.
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
