"""Carries what was written to the catalogue over to the next model, whose codes differ.

Every change of a model before this one is tokenised anew and added to this one's log, in its order, whichever replica
does it. Replicas change over one by one, so this goes on while some still write for the old model. A change carries the
position that it had, so one that is carried twice, or after a later one of the same item, changes nothing.
"""

import asyncio
import logging
from collections.abc import Sequence
from concurrent.futures import Executor

from rqrec.models.items.item_tokenizer import ItemTokenizer
from rqrec.models.trie.trie import NO_LEAF
from rqrec.service.catalogue.changes import Change, Delete, Put, from_json
from rqrec.service.catalogue.item_content import InvalidItem, tokenise_anew
from rqrec.service.catalogue.snapshot import Snapshot
from rqrec.service.redis.client import RedisGate
from rqrec.service.replication.change_log import ChangeLog
from rqrec.service.replication.live_catalogue import LiveCatalogue
from rqrec.service.replication.log_state import START, Event, is_before, is_position, order_of
from rqrec.service.replication.reconcile import UNUSABLE
from rqrec.service.telemetry import Metrics

APPENDED_AT_ONCE = 100
logger = logging.getLogger("rqrec")


class CatalogueMigration:
    """Carries over to one model.

    Args:
        gate: Redis.
        log: The model's changes.
        published: The state that its bundle was published with.
        live: Its catalogue.
        tokenizer: Its tokenizer.
        metrics: Told of what could not be carried over.
        tokenising: Where items are tokenised.
    """

    def __init__(
        self,
        gate: RedisGate,
        log: ChangeLog,
        published: Snapshot,
        live: LiveCatalogue,
        tokenizer: ItemTokenizer,
        metrics: Metrics,
        tokenising: Executor,
    ) -> None:
        self._gate = gate
        self._log = log
        self._published = published
        self._live = live
        self._tokenizer = tokenizer
        self._metrics = metrics
        self._tokenising = tokenising
        self._sources: set[str] = set()

    async def begin(self, version: str) -> None:
        """Carries over from a model from now on.

        Raises:
            RedisUnavailable: If Redis is.
        """
        if version != self._log.version:
            self._sources.add(version)
            await self._log.carry_from(version)

    async def step(self) -> None:
        """Carries over all that is there.

        Raises:
            RedisUnavailable: If Redis is.
        """
        carried = await self._log.carried()
        for lost in self._sources - carried.keys():
            await self._log.carry_from(lost)
        self._sources |= carried.keys()
        for source, position in carried.items():
            while (after := await self._step(source, position)) is not None:
                position = after  # noqa: PLW2901 - the next position of the same source

    async def _step(self, source: str, position: str) -> str | None:
        """One portion; returns its last position, None where there is nothing more or another replica is at it."""
        log = ChangeLog(self._gate, source)
        begin = position if is_position(position) else START
        look = await log.look(begin)
        if look.log is None or not look.is_whole:  # its own replicas put that right
            return None
        changes: list[tuple[Change, Event]] = []
        if is_before(begin, look.log.cut_after):
            found = await log.read(look)
            if found is None:
                return None
            after = look.log.position
            for item_id, (stamp, entry) in found.entries.items():
                changes.append((Delete(item_id) if entry is None else entry.put, Event(after, "", "", source, stamp)))
            changes.sort(key=lambda one: order_of(one[1].stamp))
        elif look.events:
            after = look.events[-1].position
            changes = [
                (change, event._replace(origin=event.origin or source, at=event.stamp))
                for event in look.events
                if (change := _change(event)) is not None
            ]
        else:
            return None
        wanted = self._wanted(changes)
        carried = await asyncio.get_running_loop().run_in_executor(self._tokenising, self._tokenised, wanted)
        while len(carried) > APPENDED_AT_ONCE:
            if not await self._log.append_carried(source, position, position, carried[:APPENDED_AT_ONCE]):
                return None
            del carried[:APPENDED_AT_ONCE]
        return after if await self._log.append_carried(source, position, after, carried) else None

    def _wanted(self, changes: Sequence[tuple[Change, Event]]) -> list[tuple[Change, Event]]:
        """What this model does not know yet; of what came from here, what its log has lost since."""
        wanted, named = [], set[str]()
        for change, event in changes:
            item_id = change.item_id
            is_held = item_id in named or self._live.snapshot.table.find([item_id])[0] != NO_LEAF
            if not is_before(self._live.stamp_of(item_id), event.stamp):
                continue
            if event.origin == self._log.version and isinstance(change, Delete) and not is_held:
                continue  # it came to nothing here, and would go round in circles
            named.add(item_id)
            wanted.append((change, event))
        return wanted

    def _tokenised(self, changes: Sequence[tuple[Change, Event]]) -> list[tuple[Change, Event]]:
        found: list[tuple[Change, Event]] = []
        for change, event in changes:
            if isinstance(change, Delete):
                found.append((change, event))
            elif not self._is_trained_on(change):
                try:
                    schema = self._published.filters.schema
                    found.append((tokenise_anew(change, schema, self._tokenizer), event))
                except (InvalidItem, *UNUSABLE) as error:
                    logger.error("item %r is not carried over: %.500s", change.item_id, error)  # noqa: TRY400
                    self._metrics.catalogue_changes.labels("not carried over").inc()
        return found

    def _is_trained_on(self, put: Put) -> bool:
        """Whether the bundle already holds the item as it was written: its own codes are the better ones then."""
        place = self._published.table.find([put.item_id])
        is_same = place[0] != NO_LEAF and self._published.table.items(place)[0].payload == put.item.payload
        return is_same and not self._live.stamp_of(put.item_id)


def _change(event: Event) -> Change | None:
    try:
        return from_json(event.change)
    except UNUSABLE:  # logged by who followed that log
        return None
