"""Repairs the change log after Redis has lost or damaged a part of it.

A replica joins the written items that it knows with all that the change log in Redis still contains. If both have an
item, the content after the later change wins. If Redis already contains the result undamaged, the replica loads it.
Otherwise the replica replaces the change log by a new one with the result, which has a new id, the epoch. The other
replicas then load the new log, or add their own changes in the same way.
"""

import asyncio
import logging
import time
import uuid
from collections.abc import Sequence
from typing import NamedTuple

from rqrec.service.catalogue.changes import Outcome
from rqrec.service.replication.change_log import ChangeLog
from rqrec.service.replication.log_view import LogContents, LogHeader, LogView
from rqrec.service.replication.positions import Point, is_before, next_position
from rqrec.service.replication.reconcile import joined
from rqrec.service.replication.replay import EventBatch, Replay
from rqrec.service.replication.replica_state import ReplicaState
from rqrec.service.replication.stamps import Stamps
from rqrec.service.telemetry import Metrics

logger = logging.getLogger("rqrec")


class Repaired(NamedTuple):
    """The result of a repair of the change log.

    Attributes:
        state: The state with all changes that this replica knew or Redis still had. The new change log starts with it.
        applied: The events in Redis that were applied during the repair, in batches. Each batch comes with the outcomes
            of its changes, which the caller must pass on to the write requests that wait for them.
    """

    state: ReplicaState
    applied: Sequence[tuple[EventBatch, Sequence[Outcome | None]]]


class LogRepair:
    """Repairs the change log in Redis: puts changes back that Redis has lost and that this replica still knows.

    Args:
        log: The change log.
        replay: Reads and applies the events of the change log.
        metrics: Counts repairs.
    """

    def __init__(self, log: ChangeLog, replay: Replay, metrics: Metrics) -> None:
        self._log = log
        self._replay = replay
        self._metrics = metrics

    def is_complete(self, view: LogView, contents: LogContents, known: Stamps) -> bool:
        """Returns whether the change log is undamaged and contains every change that this replica knows.

        Args:
            view: The header (summary) and the sizes of the change log, read at one moment.
            contents: The log's entries (the content of written items) and its events.
            known: The stamp of each written item that this replica knows: the position of its last change.
        """
        theirs = contents.stamps()
        is_undamaged = contents.is_undamaged(view, theirs)
        for event in contents.events:
            change = self._replay.read(event)
            if change is not None and is_before(theirs.stamp(change.item_id), event.stamp):
                theirs.note(change.item_id, event.stamp)
        return is_undamaged and not any(is_before(theirs.stamp(item_id), stamp) for item_id, stamp in known.items())

    async def load(self, header: LogHeader, contents: LogContents) -> ReplicaState:
        """Makes the state of a replica from the entries (the content of all written items) of an undamaged change log.

        The events after the entries are not applied: the replica reads them next.

        Args:
            header: The header of the log. It says up to which position in the stream the entries contain all changes.
            contents: The contents of the log; only the entries are used.
        """
        version = header.catalogue_version
        snapshot, stamps = await asyncio.to_thread(self._replay.state_of, contents.entries, version)
        return ReplicaState(snapshot, stamps, Point(header.epoch, header.position))

    async def write_back(self, view: LogView, contents: LogContents, mine: ReplicaState) -> Repaired | None:
        """Joins the changes that this replica knows with those in Redis, and replaces the change log by one with all.

        Args:
            view: The header and the sizes of the log, read before. Nothing is written if the header has changed by now.
            contents: The log's entries (the content of written items) and its events.
            mine: The state of this replica.

        Returns:
            The joined state and the applied events. None if nothing was written, because another replica is repairing
            the log or has repaired it.

        Raises:
            RedisUnavailable: If Redis does not answer; this replica keeps its state.
        """
        version = max(mine.snapshot.catalogue_version, 0 if view.header is None else view.header.catalogue_version)
        entries = joined(mine.all_entries(), contents.entries)
        snapshot, stamps = await asyncio.to_thread(self._replay.state_of, entries, version)
        applied: list[tuple[EventBatch, Sequence[Outcome | None]]] = []
        for batch in self._replay.batches(contents.events, stamps):
            snapshot, outcomes = await asyncio.to_thread(self._replay.apply, snapshot, batch)
            self._replay.note(stamps, batch, outcomes)
            applied.append((batch, outcomes))
        known_positions = [mine.point.position, contents.last, *(stamp for _, stamp in stamps.items())]
        point = Point(uuid.uuid4().hex, next_position(known_positions, time.time()))
        state = ReplicaState(snapshot, stamps, point)
        entries = state.all_entries()
        if not await self._log.begin(view.tag, contents.last, entries, state.header()):
            return None
        if not view.is_empty:
            self._metrics.catalogue_repairs.inc()
            logger.warning(
                "Redis lacked changes of the catalogue: wrote %d items as epoch %s", len(entries), point.epoch
            )
        return Repaired(state, applied)
