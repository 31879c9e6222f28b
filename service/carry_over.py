"""Carries what was written to the catalogue over to the next model, whose codes differ.

Every change of a model before this one is tokenised anew and added to this one's log exactly once, in its order,
whichever replica does it. Replicas change over one by one, so this goes on while some still write for the old model.
"""

import asyncio
import logging
from concurrent.futures import Executor

from models.item_tokenizer import ItemTokenizer
from service.change_log import NOT_BEGUN, START, ChangeLog, is_before
from service.changes import BadChange, Change, Delete, from_json
from service.item_content import InvalidItem, tokenise_anew
from service.live_catalogue import LiveCatalogue
from service.redis_client import RedisGate
from service.snapshot import Snapshot
from service.telemetry import Metrics

logger = logging.getLogger("rqrec")


class CarryOver:
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

    async def begin(self, version: str) -> None:
        """Carries over from a model from now on.

        Raises:
            RedisAway: If Redis is.
        """
        if version != self._log.version:
            await self._log.carry_from(version)

    async def step(self) -> None:
        """Carries over all that is there.

        Raises:
            RedisAway: If Redis is.
        """
        for source, position in (await self._log.carried()).items():
            while (after := await self._step(source, position)) is not None:
                position = after  # noqa: PLW2901 - the next position of the same source

    async def _step(self, source: str, position: str) -> str | None:
        """One portion; returns its last position, None where there is nothing more or another replica is at it."""
        log = ChangeLog(self._gate, source)
        state, events = await log.read(position or START)
        if state is None:
            return None
        changes: list[tuple[Change, str]]
        if is_before(position or START, state.cut_after) or (position == NOT_BEGUN and state.position != START):
            state, entries = await log.entries()
            if state is None:
                return None
            after = state.position
            changes = [(Delete(one) if entry is None else entry.put, source) for one, entry in entries.items()]
        elif events:
            after = events[-1].position
            changes = []
            for event in events:
                try:
                    change = from_json(event.change)
                except BadChange:  # logged by who followed that log
                    continue
                if event.origin != self._log.version:  # else it came from here
                    changes.append((change, event.origin or source))
        else:
            return None
        carried = await asyncio.get_running_loop().run_in_executor(self._tokenising, self._tokenised, changes)
        return after if await self._log.append_carried(source, position, after, carried) else None

    def _tokenised(self, changes: list[tuple[Change, str]]) -> list[tuple[Change, str]]:
        found: list[tuple[Change, str]] = []
        for change, origin in changes:
            if isinstance(change, Delete):
                found.append((change, origin))
            elif not self._is_trained_on(change.item_id, change.item.payload):
                try:
                    schema = self._published.filters.schema
                    found.append((tokenise_anew(change, schema, self._tokenizer), origin))
                except (InvalidItem, ValueError) as error:
                    logger.error("item %r is not carried over: %s", change.item_id, error)  # noqa: TRY400 - says it all
                    self._metrics.catalogue_changes.labels("not carried over").inc()
        return found

    def _is_trained_on(self, item_id: str, payload: str) -> bool:
        """Whether the bundle already holds the item as it was written: its own codes are the better ones then."""
        row = self._published.table.row(item_id)
        is_same = row is not None and self._published.table.rows[row].payload == payload
        return is_same and item_id not in self._live.snapshot.entries
