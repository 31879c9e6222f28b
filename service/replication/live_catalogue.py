"""The catalogue of one replica: applies the changes in the change log, and appends new changes to the log."""

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

from rqrec.models.items.item_tokenizer import ItemTokenizer
from rqrec.models.trie.trie import NO_LEAF
from rqrec.service.catalogue.changes import Change, Outcome
from rqrec.service.catalogue.snapshot import Snapshot
from rqrec.service.errors import NotReady
from rqrec.service.periodic import Periodic
from rqrec.service.redis.client import RedisUnavailable
from rqrec.service.replication.change_log import ChangeLog
from rqrec.service.replication.log_repair import LogRepair
from rqrec.service.replication.log_view import Event, LogView
from rqrec.service.replication.pending_writes import PendingWrites
from rqrec.service.replication.positions import START, Point, is_before
from rqrec.service.replication.replay import Replay
from rqrec.service.replication.replica_state import ReplicaState
from rqrec.service.replication.stamped_entries import StampedEntry
from rqrec.service.replication.stamps import Stamps
from rqrec.service.telemetry import Metrics

LOOKED_AGAIN_AFTER_S = 0.1  # while a write waits; a repair by another replica takes less
CatalogueObserver = Callable[[Snapshot, Snapshot, Sequence[str]], Awaitable[None]]


class LiveCatalogue:
    """Keeps the catalogue of this replica up to date: applies all changes that any replica appends to the change log.

    If Redis has lost changes that this replica knows, this replica repairs the change log.

    Args:
        published: The state of the catalogue when the model was published, without later changes.
        tokenizer: The model's item tokenizer, which computes the vectors of new items.
        log: The change log in Redis.
        metrics: Counts changes and repairs, and shows how many events are still to be applied.
        observer: Awaited after every change of state, with the state before, the state after, and the ids of the items
            that differ.
        poll_every_s: Pause between two reads of the change log, in seconds.
        save_every: Number of changes after which the change log is compacted; see `ChangeLog.save`.
        write_timeout_s: Longest time until a write is confirmed, in seconds.
        outdated_after_s: If a replica has missed changes for longer than this, in seconds, it may know items whose
            deletion is no longer recorded. So, if the next events are gone from the stream, it drops all that it knows
            and loads the change log. But if the log is damaged or was replaced, the replica keeps what it knows, and
            adds to the log what is missing there.

    Attributes:
        is_current: Whether this replica had applied all changes at its last read of the change log.
        has_caught_up: Whether this replica has applied all changes in the log at least once since its start.
    """

    def __init__(
        self,
        published: Snapshot,
        tokenizer: ItemTokenizer,
        log: ChangeLog,
        metrics: Metrics,
        observer: CatalogueObserver,
        *,
        poll_every_s: float,
        save_every: int,
        write_timeout_s: float,
        outdated_after_s: float,
    ) -> None:
        self.is_current = self.has_caught_up = False
        self._state = ReplicaState(published, Stamps(), Point("", START))
        self._replay = Replay(published, tokenizer, metrics, keep_rows=save_every)
        self._repair = LogRepair(log, self._replay, metrics)
        self._log = log
        self._metrics = metrics
        self._save_every = save_every
        self._write_timeout_s = write_timeout_s
        self._outdated_after_s = outdated_after_s
        self._current_at = time.monotonic()
        self._observer = observer
        self._unsaved: dict[str, str] = {}  # item id → position of its last change, for items changed since the save
        self._seen: LogView | None = None  # the last view of the log, if all its events are applied
        self._is_suspect = False  # whether an entry in Redis was found to differ from this replica's
        self._pending = PendingWrites()
        self._is_stopping = False
        self._applying = asyncio.Lock()
        self._following = Periodic(self._follow, poll_every_s)

    @property
    def snapshot(self) -> Snapshot:
        """The present state of this replica's catalogue."""
        return self._state.snapshot

    @property
    def point(self) -> Point:
        """The last event of the change log that this replica has applied."""
        return self._state.point

    def stamp_of(self, item_id: str) -> str:
        """Returns the stamp of an item: the position at which its last change was first written to a Redis stream.

        The stamp is an empty text if the item was never written since the model was published.
        """
        return self._state.stamps.stamp(item_id)

    def holds(self, item_id: str) -> bool:
        """Returns whether the catalogue of this replica contains an item."""
        return bool(self.snapshot.table.find([item_id])[0] != NO_LEAF)

    def written(self) -> dict[str, StampedEntry]:
        """Returns the content and the stamp of each item that was written or deleted since the model was published.

        The result is by item id; the stamp is the position of the item's last change. Safe to call from any thread.
        """
        return self._state.all_entries()

    def tombstones(self, before: str) -> list[str]:
        """Returns the ids of deleted items that were not in the published model. Safe to call from any thread.

        The record of such a deletion is called a tombstone; see `service.replication.tombstones`.

        Args:
            before: A position in the stream. Only items that were deleted before this position are returned.
        """
        entries, in_bundle = self.snapshot.entries, self.snapshot.table.leaf_of_id
        deleted = [one for one in list(self._state.stamps.items()) if one[0] not in entries and one[0] not in in_bundle]
        return [item_id for item_id, stamp in deleted if is_before(stamp, before)]

    async def write(self, change: Change) -> Outcome:
        """Appends a change to the change log, waits until this replica has applied it, and returns the outcome.

        Args:
            change: The change.

        Raises:
            NotReady: If Redis does not answer, or if the change is not applied in time; it may still be applied later.
                Also if `LiveCatalogue.stop` was called before.
        """
        if self._is_stopping:
            raise NotReady("another model takes over from this one: send it again")
        token = uuid.uuid4().hex
        with self._pending.wait(change, token) as write:
            try:
                write.position = await self._log.append(change, token, after=self.point.position)
                async with asyncio.timeout(self._write_timeout_s):
                    while not write.outcome.done():  # one look may meet another replica's repair, or a failure of Redis
                        self._following.now()
                        await asyncio.wait([write.outcome], timeout=LOOKED_AGAIN_AFTER_S)
                    return write.outcome.result()
            except (RedisUnavailable, TimeoutError) as error:
                raise NotReady(
                    f"Redis did not confirm the change ({str(error) or 'no answer in time'}): send it again; a change "
                    "that is applied twice does no harm"
                ) from error

    async def start(self) -> None:
        """Applies all changes in the change log, and starts a background task that applies later changes.

        Raises:
            RedisUnavailable: If Redis does not answer. The background task is started nevertheless.
        """
        try:
            await self.catch_up()
        finally:
            self._following.start()

    async def stop(self) -> None:
        """Refuses new writes, waits until the running writes have ended, and stops the background task."""
        self._is_stopping = True
        await self._pending.until_none()
        await self._following.stop()

    async def catch_up(self) -> None:
        """Applies all new changes in the change log, and repairs the log if Redis has lost a part of it.

        Raises:
            RedisUnavailable: If Redis does not answer.
        """
        async with self._applying:  # one at a time, or a change would be applied twice
            try:
                while (view := await self._log.look(self.point.position)) != self._seen or self._is_suspect:
                    if not await self._take(view):
                        self.is_current = False
                        return
            except BaseException:
                self.is_current = False
                raise
            self.is_current = self.has_caught_up = True
            self._current_at = time.monotonic()
            await self._save_if_due(view)  # an earlier save may have waited for a reader of the entries

    async def check_entries(self) -> None:
        """Compares some written items in Redis with those of this replica. Each call goes on where the last call ended.

        If an item differs, the next call of `LiveCatalogue.catch_up` repairs the change log.

        Raises:
            RedisUnavailable: If Redis does not answer.
        """
        async with self._applying:
            if self._seen is None or self._seen.header is None:
                return
            position = self._seen.header.position
            theirs = await self._log.sample_entries()
            # The entry of an item that changed after the save is older than this replica's, and rightly so.
            unchanged = [item_id for item_id in theirs if not is_before(position, self._unsaved.get(item_id, ""))]
            mine = self._state.entries(unchanged)
            if (await self._log.look(self.point.position)).header == self._seen.header:
                self._is_suspect = any(theirs[item_id] != mine[item_id] for item_id in unchanged)

    async def _follow(self) -> None:
        try:
            await self.catch_up()
        except RedisUnavailable:  # RedisGate has counted and logged it
            return

    async def _take(self, view: LogView) -> bool:
        """Applies one view of the log. Returns False if this replica must wait for another replica's repair."""
        is_same_epoch = view.header is not None and view.header.epoch == self.point.epoch
        if not (is_same_epoch and view.is_whole and not self._is_suspect and self._continues(view)):
            return await self._reconcile(view)
        if view.events:
            await self._apply(view.events)
        await self._save_if_due(view)
        self._seen = replace(view, events=[]) if view.last == self.point.position else None
        return True

    def _continues(self, view: LogView) -> bool:
        """Whether the stream is the one that this replica has read before, with no event missing."""
        before, is_all = self._seen, not view.events or view.events[-1].position == view.last
        if before is not None and is_all and before.first == view.first:
            is_long_enough = view.num_events == before.num_events + len(view.events)
            return is_long_enough and view.follows(self.point.position)
        return view.follows(self.point.position)

    async def _apply(self, events: Sequence[Event]) -> None:
        self._metrics.catalogue_lag.set(len(events))
        stamps = self._state.stamps
        for batch in self._replay.batches(events, stamps):
            after, outcomes = await asyncio.to_thread(self._replay.apply, self.snapshot, batch)
            written = self._replay.note(stamps, batch, outcomes)
            self._unsaved.update(dict.fromkeys(written, batch.position))
            await self._become(ReplicaState(after, stamps, Point(self.point.epoch, batch.position)), written)
            self._pending.resolve(batch, outcomes)
        self._metrics.catalogue_lag.set(0)

    async def _become(self, state: ReplicaState, differing: Sequence[str]) -> None:
        before, self._state = self.snapshot, state
        await self._observer(before, state.snapshot, differing)

    async def _save_if_due(self, view: LogView) -> None:
        """Saves the changes since the last save, by whichever replica, once there are `catalogue_save_every`."""
        before, version = view.header, self.snapshot.catalogue_version
        if before is None or view.is_read or version - before.catalogue_version < self._save_every:
            return
        self._unsaved = {item_id: at for item_id, at in self._unsaved.items() if is_before(before.position, at)}
        await self._log.save(before, self._state.entries(self._unsaved), self._state.header())

    async def _reconcile(self, view: LogView) -> bool:
        """Loads the contents of the change log if they are complete; otherwise repairs the change log.

        Returns:
            False if another replica is repairing the log.
        """
        self._seen = None
        # The suspicion concerns the entries of this replica's epoch only.
        self._is_suspect &= view.header is not None and view.header.epoch == self.point.epoch
        contents = await self._log.read(view)
        if contents is None:  # the log changed meanwhile: look again
            return True
        known = Stamps() if self._is_outdated(view) else self._state.stamps
        is_complete = self._repair.is_complete(view, contents, known)
        if view.header is not None and is_complete and not self._is_suspect:
            await self._replace(await self._repair.load(view.header, contents))
            return True
        repaired = await self._repair.write_back(view, contents, self._state)
        if repaired is None:
            return False
        await self._replace(repaired.state)
        for batch, outcomes in repaired.applied:
            self._pending.resolve(batch, outcomes)
        return True

    def _is_outdated(self, view: LogView) -> bool:
        """Whether the log went on for long without this replica, which may know items that are since forgotten.

        In another epoch Redis may have lost what this replica knows.
        """
        is_long = time.monotonic() - self._current_at > self._outdated_after_s
        is_same_epoch = view.header is not None and view.header.epoch == self.point.epoch
        return is_long and is_same_epoch and is_before(self.point.position, view.last)

    async def _replace(self, state: ReplicaState) -> None:
        """Replaces everything that this replica knows, and resolves writes whose changes are in the new state."""
        old, before, after = self.snapshot, self._state.stamps, state.stamps
        differing = {item_id for item_id, stamp in after.items() if before.stamp(item_id) != stamp}
        differing |= {item_id for item_id, _ in before.items() if not after.stamp(item_id)}
        self._unsaved, self._is_suspect = {}, False
        await self._become(state, list(differing))
        self._pending.resolve_from_entries(old, state.snapshot, after)
