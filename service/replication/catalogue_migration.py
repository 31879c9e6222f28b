"""Copies written items from the change logs of other models to the change log of this model.

Models give different codes to an item. So the tokenizer of this model computes new codes for each change in the other
model's stream. The change with the new codes is then appended to this model's stream. Any replica may do this. Replicas
switch models one by one, so the migration goes on while some replicas still write for the other model.

A migrated change keeps its stamp: the position at which it was first written, in the other model's stream. Of two
changes of an item, only the one with the later stamp has an effect. So it does no harm to migrate a change twice, or
after a later change of the same item.

A replica that serves the other model has all changes of that model in memory. The replica migrates these before it
stops serving that model, because Redis may have lost some of them.
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor

from rqrec.models.items.item_tokenizer import ItemTokenizer
from rqrec.models.trie.trie import NO_LEAF
from rqrec.service.catalogue.changes import Change, Delete, Forget, Put, from_json
from rqrec.service.catalogue.item_content import InvalidItem, as_written, tokenise_all
from rqrec.service.catalogue.snapshot import Snapshot
from rqrec.service.errors import NotReady
from rqrec.service.redis.client import RedisGate
from rqrec.service.replication.change_log import ChangeLog
from rqrec.service.replication.live_catalogue import LiveCatalogue
from rqrec.service.replication.log_view import Event
from rqrec.service.replication.positions import START, is_before, is_position, order_of
from rqrec.service.replication.reconcile import UNUSABLE
from rqrec.service.replication.stamped_entries import StampedEntry
from rqrec.service.telemetry import Metrics

APPENDED_AT_ONCE = 100  # changes in one call of Redis
TOKENISED_AT_ONCE = 64  # items in one run of the text encoder
ROUNDS, PAUSE_S = 50, 0.05  # of `absorb`, which waits while another replica repairs the change log
Migrated = tuple[Change, Event]  # a change, and its event in the stream of the older model
Key = tuple[str, str]  # item id and stamp of a change
logger = logging.getLogger("rqrec")


class CatalogueMigration:
    """Copies the items that were written or deleted for other models to the catalogue of one model, called this model.

    Each item gets new codes, because models give different codes to an item.

    Args:
        gate: The client of Redis.
        log: The change log of this model.
        published: The state of this model's catalogue when the model was published, without later changes.
        live: The catalogue of this model, to which all changes in `log` are applied.
        tokenizer: The item tokenizer of this model.
        metrics: Counts items that cannot be migrated.
        tokenising: Executor with the threads in which the codes of items are computed.

    Attributes:
        left_out: Ids of the items that this replica could not migrate, because this model cannot read their content.
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
        self.left_out: set[str] = set()
        self._unfit: set[Key] = set()  # changes that do not fit this model
        self._stepping = asyncio.Lock()

    async def begin(self, version: str) -> None:
        """Adds another model, the source: from now on `CatalogueMigration.step` also copies its changes to this model.

        Copying starts at the first change of the source, even if an earlier process has copied some changes: Redis may
        have lost parts of this model's change log while no replica served this model. Changes that this model has
        already are skipped. A second call for the same source has no effect.

        Args:
            version: Version of the source.

        Raises:
            RedisUnavailable: If Redis does not answer.
        """
        if version not in self._sources and version != self._log.version:
            self._sources.add(version)
            await self._log.restart_migration(version)

    async def step(self) -> None:
        """Copies new changes from the change logs of other models to the change log of this model.

        The other models are those for which any replica has called `CatalogueMigration.begin`. Changes that were
        copied before are skipped.

        Raises:
            RedisUnavailable: If Redis does not answer.
        """
        async with self._stepping:
            self._sources |= await self._log.migrations()
            for source in list(self._sources):
                while await self._step(source, await self._log.migrated_until(source)):
                    pass

    async def absorb(self, source: LiveCatalogue) -> None:
        """Copies all changes of another model to this model, from the memory of this replica.

        This works even if Redis has lost these changes. When the call returns, this model's catalogue has applied all
        changes, except those of items that do not fit this model. So the other catalogue is not needed any more.

        Args:
            source: The catalogue of the other model.

        Raises:
            RedisUnavailable: If Redis does not answer.
            NotReady: If Redis loses the copied changes again and again.
        """
        run_in_thread = asyncio.get_running_loop().run_in_executor
        for _ in range(ROUNDS):
            missing = await run_in_thread(self._tokenising, self._missing_of, source)
            epoch, last = self._live.point.epoch, START
            for begin in range(0, len(missing), APPENDED_AT_ONCE):
                last = await self._log.append_all(missing[begin : begin + APPENDED_AT_ONCE])
            if missing:
                await self._live.catch_up()
            now = self._live.point
            if not missing or (now.epoch == epoch and not is_before(now.position, last)):
                return  # what is applied and still missing has no effect here
            await asyncio.sleep(PAUSE_S)
        raise NotReady("Redis loses the written items while they are migrated: try again")

    def _missing_of(self, source: LiveCatalogue) -> list[Migrated]:
        """The changes that another catalogue knows and this one does not, with this model's codes."""
        return self._retokenised(self._wanted(_from_entries(source.written(), source.snapshot.version)))

    async def _step(self, source: str, position: str) -> bool:
        """Migrates the next changes after a position of another model's stream, unless another replica was faster.

        Returns:
            Whether there may be more.
        """
        found = await self._next_changes(source, position)
        if found is None:
            return False
        changes, after = found
        run_in_thread = asyncio.get_running_loop().run_in_executor
        migrated = await run_in_thread(self._tokenising, self._retokenised, self._wanted(changes))
        while len(migrated) > APPENDED_AT_ONCE:
            if not await self._log.append_migrated(source, position, position, migrated[:APPENDED_AT_ONCE]):
                return True
            del migrated[:APPENDED_AT_ONCE]
        await self._log.append_migrated(source, position, after, migrated)
        return True

    async def _next_changes(self, source: str, position: str) -> tuple[list[Migrated], str] | None:
        """The next changes of another model: from its stream, or from its entries if the stream starts later.

        Returns:
            The changes, and the position up to which they go; None if there are none to migrate now.
        """
        log = ChangeLog(self._gate, source)
        begin = position if is_position(position) else START
        view = await log.look(begin)
        if view.header is None or not view.is_whole:  # the replicas of that model repair it
            return None
        if is_before(begin, view.header.cut_after):
            contents = await log.read(view)
            return None if contents is None else (_from_entries(contents.entries, source), view.header.position)
        if not view.events:
            return None
        changes = [
            (change, event._replace(origin=event.origin or source, at=event.stamp))
            for event in view.events
            if (change := _change(event)) is not None
        ]
        return changes, view.events[-1].position

    def _wanted(self, changes: Sequence[Migrated]) -> list[Migrated]:
        """The changes that are later than this model's last changes of the same items."""
        wanted, named = [], set[str]()
        for change, event in changes:
            item_id = change.item_id
            is_held = item_id in named or self._live.holds(item_id)
            if not is_before(self._live.stamp_of(item_id), event.stamp):
                continue
            if event.origin == self._log.version and isinstance(change, Delete) and not is_held:
                continue  # it came from this model and had no effect here: it would migrate back and forth for ever
            named.add(item_id)
            wanted.append((change, event))
        return wanted

    def _retokenised(self, changes: Sequence[Migrated]) -> list[Migrated]:
        """The changes with this model's codes, without items that do not fit this model."""
        self.left_out -= {change.item_id for change, event in changes if _key(change, event) not in self._unfit}
        puts = [
            (change, event)
            for change, event in changes
            if isinstance(change, Put) and _key(change, event) not in self._unfit and not self._is_trained_on(change)
        ]
        made: dict[Key, Change] = {_key(one, event): one for one, event in changes if isinstance(one, Delete)}
        for begin in range(0, len(puts), TOKENISED_AT_ONCE):
            made |= self._tokenised(puts[begin : begin + TOKENISED_AT_ONCE])
        return [(made[_key(*one)], one[1]) for one in changes if _key(*one) in made]

    def _tokenised(self, puts: Sequence[tuple[Put, Event]]) -> dict[Key, Put]:
        """The changes with this model's codes, by key; bisects to find and skip an item that does not fit."""
        schema = self._published.filters.schema
        try:
            items = [as_written(put, schema, self._tokenizer) for put, _ in puts]
            made = tokenise_all(items, schema, self._tokenizer)
        except (InvalidItem, *UNUSABLE) as error:
            if len(puts) > 1:
                half = len(puts) // 2
                return self._tokenised(puts[:half]) | self._tokenised(puts[half:])
            ((put, event),) = puts
            self._unfit.add(_key(put, event))
            self.left_out.add(put.item_id)
            logger.error("item %r is not migrated: %.500s", put.item_id, error)  # noqa: TRY400 - no traceback
            self._metrics.catalogue_changes.labels("not carried over").inc()
            return {}
        return {_key(put, event): put for (_, event), put in zip(puts, made, strict=True)}

    def _is_trained_on(self, put: Put) -> bool:
        """Whether the bundle holds the item as it was written. Its codes from training are better than new ones."""
        place = self._published.table.find([put.item_id])
        is_same = place[0] != NO_LEAF and self._published.table.items(place)[0].payload == put.item.payload
        return is_same and not self._live.stamp_of(put.item_id)


def _from_entries(entries: Mapping[str, StampedEntry], source: str) -> list[Migrated]:
    """All entries of another model as changes, in the order of their stamps."""
    changes: list[Migrated] = [
        (Delete(item_id) if entry is None else entry.put, Event(stamp, "", "", source, stamp))
        for item_id, (stamp, entry) in entries.items()
    ]
    return sorted(changes, key=lambda one: order_of(one[1].stamp))


def _key(change: Change, event: Event) -> Key:
    return change.item_id, event.stamp


def _change(event: Event) -> Change | None:
    try:
        change = from_json(event.change)
    except UNUSABLE:  # the replicas of that model log it
        return None
    return None if isinstance(change, Forget) else change
