"""Writers that wait until their change is applied."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from rqrec.models.trie.trie import NO_LEAF
from rqrec.service.catalogue.changes import Change, Outcome, Put, Result
from rqrec.service.catalogue.snapshot import Snapshot
from rqrec.service.replication.log_state import is_before
from rqrec.service.replication.reconcile import Stamps
from rqrec.service.replication.replay import Portion


@dataclass
class Waiting:
    """A writer that waits.

    Attributes:
        change: What it wrote.
        outcome: What came of it.
        position: Where in the stream it stands; empty until that is known.
    """

    change: Change
    outcome: "asyncio.Future[Outcome]"
    position: str = ""


class WaitingWrites:
    """All of them, by the token of their event."""

    def __init__(self) -> None:
        self._waiting: dict[str, Waiting] = {}

    @contextmanager
    def one(self, change: Change, token: str) -> Iterator[Waiting]:
        """A writer that waits inside the block."""
        waiting = self._waiting[token] = Waiting(change, asyncio.get_running_loop().create_future())
        try:
            yield waiting
        finally:
            waiting.outcome.cancel()  # for who waits until nobody waits
            del self._waiting[token]

    async def until_none(self) -> None:
        """Returns when nobody waits."""
        while self._waiting:
            await asyncio.wait([one.outcome for one in self._waiting.values()])
            await asyncio.sleep(0)  # who waited takes note

    def answer(self, portion: Portion, outcomes: Sequence[Outcome | None]) -> None:
        """Tells them what came of events."""
        for (event, _), outcome in zip(portion.changes, outcomes, strict=True):
            waiting = self._waiting.get(event.token)
            if outcome is not None and waiting is not None and not waiting.outcome.done():
                waiting.outcome.set_result(outcome)

    def answer_from(self, before: Snapshot, after: Snapshot, stamps: Stamps) -> None:
        """Tells those whose change is among the entries that another replica has written.

        Args:
            before: The state before these entries.
            after: The state with them.
            stamps: Of that state.
        """
        for waiting in self._waiting.values():
            item_id = waiting.change.item_id
            if not waiting.position or waiting.outcome.done() or is_before(stamps.stamp(item_id), waiting.position):
                continue
            entry = after.entries.get(item_id)
            if entry is None and isinstance(waiting.change, Put):
                continue  # it came in, and is gone again: its writer is told that nothing is confirmed
            result = Result.ADDED if before.table.find([item_id])[0] == NO_LEAF else Result.REPLACED
            waiting.outcome.set_result(Outcome(Result.DELETED) if entry is None else Outcome(result, entry.semantic_id))
