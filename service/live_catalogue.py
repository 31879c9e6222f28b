"""The catalogue of one replica: follows the changes that all replicas share, and adds to them."""

import asyncio
import contextlib
import logging
import uuid
from collections.abc import Awaitable, Callable, Sequence

from models.item_tokenizer import ItemTokenizer
from service.change_log import START, ChangeLog, Event, LogState, is_before
from service.changes import BadChange, Change, Delete, Outcome, from_json
from service.errors import NotReady
from service.ledger import apply_changes, check, with_entries, without_lost_rows
from service.periodic import Periodic
from service.redis_client import RedisAway
from service.settings import Settings
from service.snapshot import Snapshot
from service.telemetry import Metrics

logger = logging.getLogger("rqrec")

Told = Callable[[Snapshot, Snapshot, Sequence[str]], Awaitable[None]]


class LiveCatalogue:
    """Keeps a snapshot up to date with the log.

    Args:
        published: The state that the bundle was published with.
        tokenizer: Makes the vectors of items written since.
        log: The changes.
        metrics: Told of changes.
        settings: How often to look, and when to save.
        told: Awaited with the state before, the state after and the items that differ.

    Attributes:
        snapshot: The state now.
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
        self._published = published
        self._tokenizer = tokenizer
        self._log = log
        self._metrics = metrics
        self._settings = settings
        self._told = told
        self._epoch: str | None = None
        self._position = START
        self._waiting: dict[str, asyncio.Future[Outcome]] = {}
        self._is_stopping = False
        self._applying = asyncio.Lock()
        self._following = Periodic(self._follow, settings.catalogue_poll_s)

    async def write(self, change: Change) -> Outcome:
        """Adds a change, and waits until this replica has applied it.

        Raises:
            NotReady: If Redis is away, or does not tell of the change in time: it may or may not have come in.
        """
        if self._is_stopping:
            raise NotReady("another model is taking over: send it again")
        token = uuid.uuid4().hex
        applied: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._waiting[token] = applied
        try:
            await self._log.append(change, token)
            self._following.now()
            async with asyncio.timeout(self._settings.write_timeout_s):
                return await applied
        except (RedisAway, TimeoutError) as error:
            raise NotReady(
                f"Redis does not confirm the change ({str(error) or 'no answer in time'}): send it again, which does "
                "no harm if it came in after all"
            ) from error
        finally:
            applied.cancel()  # for who waits until nobody waits
            del self._waiting[token]

    async def start(self) -> None:
        """Catches up, now and from now on.

        Raises:
            RedisAway: If Redis is; following goes on nonetheless.
            BadChange: If what the changes came to was written by other software.
        """
        try:
            await self.catch_up()
        finally:
            self._following.start()

    async def stop(self) -> None:
        """Follows no more, once nobody waits for a change; others are refused meanwhile."""
        self._is_stopping = True
        while self._waiting:
            await asyncio.wait(self._waiting.values())
            await asyncio.sleep(0)  # who waited takes note
        await self._following.stop()

    async def catch_up(self) -> None:
        """Applies all changes that are there.

        Raises:
            RedisAway: If Redis is.
            BadChange: If what the changes came to was written by other software.
        """
        async with self._applying:  # one at a time, or a change would count twice
            while True:
                state, events = await self._log.read(self._position)
                if state is None:  # the first replica ever, or Redis has lost what it had
                    await self._save(None)
                elif state.epoch != self._epoch or is_before(self._position, state.cut_after):
                    await self._reload()
                elif events:
                    await self._apply(events)
                    if self.snapshot.catalogue_version - state.catalogue_version >= self._settings.catalogue_save_every:
                        await self._save(state)
                else:
                    return

    async def _follow(self) -> None:
        with contextlib.suppress(RedisAway):  # counted where it was noticed
            await self.catch_up()

    async def _save(self, before: LogState | None) -> None:
        version = self.snapshot.catalogue_version
        await self._log.save(before, self.snapshot.entries, position=self._position, catalogue_version=version)

    async def _reload(self) -> None:
        state, entries = await self._log.entries()
        if state is None:
            return
        known, missing = self.snapshot.entries, list[Change]()
        if self._epoch not in {None, state.epoch} and is_before(state.position, self._position):
            # Redis lost everything, and a replica that was behind this one has put back what it had.
            lost = [item_id for item_id, entry in known.items() if entries.get(item_id, "none") != entry]
            missing = [Delete(item_id) if (entry := known[item_id]) is None else entry.put for item_id in lost]
        after = await asyncio.to_thread(
            with_entries, self._published, entries, self._tokenizer, catalogue_version=state.catalogue_version
        )
        await self._become(after, state.position, list({**known, **entries}))
        self._epoch = state.epoch
        for change in missing:
            await self._log.append(change, "")

    async def _apply(self, events: Sequence[Event]) -> None:
        self._metrics.catalogue_lag.set(len(events))
        changes = [self._read(event) for event in events]
        good = [change for change in changes if change is not None]
        version = self.snapshot.catalogue_version + len(events)
        after, outcomes = await asyncio.to_thread(self._applied, good, version)
        await self._become(after, events[-1].position, list(dict.fromkeys(change.item_id for change in good)))
        self._metrics.catalogue_lag.set(0)
        told = iter(outcomes)
        for event, change in zip(events, changes, strict=True):
            if change is None:
                continue
            outcome = next(told)
            self._metrics.catalogue_changes.labels(outcome.result.name.lower()).inc()
            waiting = self._waiting.get(event.token)
            if waiting is not None and not waiting.done():
                waiting.set_result(outcome)

    def _applied(self, changes: Sequence[Change], version: int) -> tuple[Snapshot, list[Outcome]]:
        after, outcomes = apply_changes(self.snapshot, changes, self._tokenizer, catalogue_version=version)
        return without_lost_rows(after, at_least=self._settings.catalogue_save_every), outcomes

    def _read(self, event: Event) -> Change | None:
        try:
            change = from_json(event.change)
            check(change, self._published, self._tokenizer)
        except BadChange as error:
            logger.error("change %s is skipped: %s", event.position, error)  # noqa: TRY400 - the message says it all
            self._metrics.catalogue_changes.labels("bad").inc()
            return None
        return change

    async def _become(self, after: Snapshot, position: str, differing: Sequence[str]) -> None:
        before, self.snapshot, self._position = self.snapshot, after, position
        if differing:
            await self._told(before, after, differing)
