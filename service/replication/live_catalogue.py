"""The catalogue of one replica: follows the changes that all replicas share, and adds to them."""

import asyncio
import logging
import time
import uuid
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

from rqrec.models.items.item_tokenizer import ItemTokenizer
from rqrec.service.catalogue.changes import Change, Outcome
from rqrec.service.catalogue.snapshot import Snapshot
from rqrec.service.errors import NotReady
from rqrec.service.periodic import Periodic
from rqrec.service.redis.client import RedisUnavailable
from rqrec.service.replication.change_log import ChangeLog
from rqrec.service.replication.log_state import START, Event, Found, LogState, Look, Stamped, is_before, next_position
from rqrec.service.replication.reconcile import Stamps, joined
from rqrec.service.replication.redis_table import Point
from rqrec.service.replication.replay import Portion, Replay
from rqrec.service.replication.waiting_writes import WaitingWrites
from rqrec.service.settings import Settings
from rqrec.service.telemetry import Metrics

logger = logging.getLogger("rqrec")

Told = Callable[[Snapshot, Snapshot, Sequence[str]], Awaitable[None]]


class LiveCatalogue:
    """Keeps a snapshot up to date with the log, and the log with all that this replica knows.

    Args:
        published: The state that the bundle was published with.
        tokenizer: Makes the vectors of items written since.
        log: The changes.
        metrics: Told of changes.
        settings: How often to look, and when to save.
        told: Awaited with the state before, the state after and the items that differ.

    Attributes:
        snapshot: The state now.
        is_current: Whether this replica had all changes when it looked last.
        has_caught_up: Whether it ever had.
    """

    def __init__(
        self,
        published: Snapshot,
        tokenizer: ItemTokenizer,
        log: ChangeLog,
        metrics: Metrics,
        settings: Settings,
        told: Told,
    ) -> None:
        self.snapshot = published
        self.is_current = self.has_caught_up = False
        self._replay = Replay(published, tokenizer, metrics, keep_rows=settings.catalogue_save_every)
        self._log = log
        self._metrics = metrics
        self._settings = settings
        self._told = told
        self._point = Point("", START)
        self._stamps = Stamps()
        self._unsaved: dict[str, str] = {}  # items by the position of their last change
        self._seen: Look | None = None  # when all of it was applied
        self._is_doubtful = False  # whether the entries in Redis are not those that they should be
        self._waiting = WaitingWrites()
        self._is_stopping = False
        self._applying = asyncio.Lock()
        self._following = Periodic(self._follow, settings.catalogue_poll_s)

    @property
    def point(self) -> Point:
        """Where in the changes the snapshot stands."""
        return self._point

    def stamp_of(self, item_id: str) -> str:
        """When an item was written last, as a position; empty for never."""
        return self._stamps.stamp(item_id)

    async def write(self, change: Change) -> Outcome:
        """Adds a change, and waits until this replica has applied it.

        Raises:
            NotReady: If Redis is away, or does not tell of the change in time: it may or may not have come in.
        """
        if self._is_stopping:
            raise NotReady("another model is taking over: send it again")
        token = uuid.uuid4().hex
        with self._waiting.one(change, token) as waiting:
            try:
                waiting.position = await self._log.append(change, token, after=self._point.position)
                self._following.now()
                async with asyncio.timeout(self._settings.write_timeout_s):
                    return await waiting.outcome
            except (RedisUnavailable, TimeoutError) as error:
                raise NotReady(
                    f"Redis does not confirm the change ({str(error) or 'no answer in time'}): send it again, which "
                    "does no harm if it came in after all"
                ) from error

    async def start(self) -> None:
        """Catches up, now and from now on.

        Raises:
            RedisUnavailable: If Redis is; following goes on nonetheless.
        """
        try:
            await self.catch_up()
        finally:
            self._following.start()

    async def stop(self) -> None:
        """Follows no more, once nobody waits for a change; others are refused meanwhile."""
        self._is_stopping = True
        await self._waiting.until_none()
        await self._following.stop()

    async def catch_up(self) -> None:
        """Applies all changes that are there, and puts back what Redis has lost of those that were.

        Raises:
            RedisUnavailable: If Redis is.
        """
        async with self._applying:  # one at a time, or a change would count twice
            try:
                while (look := await self._log.look(self._point.position)) != self._seen or self._is_doubtful:
                    if not await self._take(look):
                        self.is_current = False
                        return
            except BaseException:
                self.is_current = False
                raise
            self.is_current = self.has_caught_up = True
            await self._save_if_due(look)  # if others read the entries before

    async def check_entries(self) -> None:
        """Compares some of the entries in Redis, others at every call, with what this replica knows of the same items.

        What differs is put right when the changes are looked for next.

        Raises:
            RedisUnavailable: If Redis is.
        """
        async with self._applying:
            if self._seen is None or self._seen.log is None:
                return
            position = self._seen.log.position
            theirs = await self._log.some_entries()
            unchanged = [one for one in theirs if not is_before(position, self._unsaved.get(one, ""))]
            mine = {item_id: _stamped(item_id, self._stamps, self.snapshot) for item_id in unchanged}
            if (await self._log.look(self._point.position)).log == self._seen.log:
                self._is_doubtful = any(theirs[item_id] != mine[item_id] for item_id in unchanged)

    async def _follow(self) -> None:
        try:
            await self.catch_up()
        except RedisUnavailable:  # counted and logged where it was noticed
            return

    async def _take(self, look: Look) -> bool:
        """Takes in one look; returns False where another replica has to finish something before."""
        is_known = look.log is not None and look.log.epoch == self._point.epoch and look.is_whole
        if look.log is None or not is_known or self._is_doubtful or not self._continues(look):
            return await self._reconcile(look)
        if look.events:
            await self._apply(look.events)
        await self._save_if_due(look)
        self._seen = replace(look, events=[]) if look.last == self._point.position else None
        return True

    def _continues(self, look: Look) -> bool:
        """Whether the stream is the one that was read before, and goes on from there."""
        before, is_all = self._seen, not look.events or look.events[-1].position == look.last
        if before is not None and is_all and before.first == look.first:
            is_long_enough = look.num_events == before.num_events + len(look.events)
            return is_long_enough and look.follows(self._point.position)
        return look.follows(self._point.position)

    async def _apply(self, events: Sequence[Event]) -> None:
        self._metrics.catalogue_lag.set(len(events))
        for portion in self._replay.portions(events, self._stamps):
            after, outcomes = await asyncio.to_thread(self._replay.apply, self.snapshot, portion)
            written = self._replay.note(self._stamps, portion, outcomes)
            self._unsaved.update(dict.fromkeys(written, portion.position))
            await self._become(after, Point(self._point.epoch, portion.position), written)
            self._waiting.answer(portion, outcomes)
        self._metrics.catalogue_lag.set(0)

    async def _become(self, after: Snapshot, point: Point, differing: Sequence[str]) -> None:
        before, self.snapshot, self._point = self.snapshot, after, point
        await self._told(before, after, differing)

    async def _save_if_due(self, look: Look) -> None:
        """Adds what has changed since the last saving, by whichever replica, to the entries if that is much."""
        before, version = look.log, self.snapshot.catalogue_version
        if before is None or look.is_read or version - before.catalogue_version < self._settings.catalogue_save_every:
            return
        self._unsaved = {item_id: at for item_id, at in self._unsaved.items() if is_before(before.position, at)}
        changed = {item_id: _stamped(item_id, self._stamps, self.snapshot) for item_id in self._unsaved}
        await self._log.save(before, changed, self._log_now(before.epoch, self._point.position))

    async def _reconcile(self, look: Look) -> bool:
        """Joins what Redis holds with what this replica knows, follows it from there, and puts back what it lacks.

        Returns:
            False if another replica is putting something back.
        """
        self._seen = None
        # Of an epoch that another replica has begun meanwhile nothing is known.
        self._is_doubtful &= look.log is not None and look.log.epoch == self._point.epoch
        found = await self._log.read(look)
        if found is None:  # it has changed meanwhile: look again
            return True
        theirs = Stamps({item_id: stamped.stamp for item_id, stamped in found.entries.items()})
        is_whole = (
            look.log is not None
            and not self._is_doubtful
            and found.is_linked
            and theirs.digest == look.log.digest
            and look.is_whole
        )
        for event in found.events:
            change = self._replay.read(event)
            if change is not None and is_before(theirs.stamp(change.item_id), event.stamp):
                theirs.note(change.item_id, event.stamp)
        if is_whole and not any(is_before(theirs.stamp(item_id), stamp) for item_id, stamp in self._stamps.items()):
            assert look.log is not None
            version = look.log.catalogue_version
            snapshot, stamps = await asyncio.to_thread(self._replay.state_of, found.entries, version)
            await self._adopt(snapshot, stamps, Point(look.log.epoch, look.log.position))
            return True
        return await self._put_back(look, found)

    async def _put_back(self, look: Look, found: Found) -> bool:
        """Begins a new epoch with all that is known, here and in Redis."""
        mine = {item_id: _stamped(item_id, self._stamps, self.snapshot) for item_id, _ in self._stamps.items()}
        version = max(self.snapshot.catalogue_version, 0 if look.log is None else look.log.catalogue_version)
        snapshot, stamps = await asyncio.to_thread(self._replay.state_of, joined(mine, found.entries), version)
        done: list[tuple[Portion, list[Outcome | None]]] = []
        for portion in self._replay.portions(found.events, stamps):
            snapshot, outcomes = await asyncio.to_thread(self._replay.apply, snapshot, portion)
            self._replay.note(stamps, portion, outcomes)
            done.append((portion, outcomes))
        entries = {item_id: _stamped(item_id, stamps, snapshot) for item_id, _ in stamps.items()}
        position = next_position(
            [self._point.position, found.last, *(stamp for _, stamp in stamps.items())], time.time()
        )
        log = LogState(uuid.uuid4().hex, position, snapshot.catalogue_version, position, len(stamps), stamps.digest)
        if not await self._log.begin(look.tag, found.last, entries, log):
            return False
        if not look.is_empty:
            self._metrics.catalogue_repairs.inc()
            logger.warning(
                "Redis lacked a part of the catalogue: put back %d items as epoch %s", len(entries), log.epoch
            )
        await self._adopt(snapshot, stamps, Point(log.epoch, position))
        for portion, outcomes in done:
            self._waiting.answer(portion, outcomes)
        return True

    async def _adopt(self, snapshot: Snapshot, stamps: Stamps, point: Point) -> None:
        """Takes up another state, whatever came before."""
        before = self._stamps
        differing = {item_id for item_id, stamp in stamps.items() if before.stamp(item_id) != stamp}
        differing |= {item_id for item_id, _ in before.items() if not stamps.stamp(item_id)}
        self._stamps, self._unsaved, self._is_doubtful = stamps, {}, False
        old = self.snapshot
        await self._become(snapshot, point, list(differing))
        self._waiting.answer_from(old, snapshot, stamps)

    def _log_now(self, epoch: str, position: str) -> LogState:
        version = self.snapshot.catalogue_version
        return LogState(epoch, position, version, position, len(self._stamps), self._stamps.digest)


def _stamped(item_id: str, stamps: Stamps, snapshot: Snapshot) -> Stamped:
    return Stamped(stamps.stamp(item_id), snapshot.entries.get(item_id))
