"""A bundle that answers: its state, its table in Redis, and the changes that it follows."""

import asyncio
import contextlib
import logging
from collections.abc import Sequence

from models.bundle import Bundle
from models.item_tokenizer import ItemTokenizer
from service.change_log import ChangeLog
from service.live_catalogue import LiveCatalogue
from service.periodic import Periodic
from service.redis_client import RedisAway, RedisGate
from service.settings import Settings
from service.shared_table import SharedTable
from service.snapshot import Snapshot, load_snapshot
from service.telemetry import Metrics

logger = logging.getLogger("rqrec")


class ServedModel:
    """Made by `load`; `start` lets it follow Redis, if there is one.

    Args:
        bundle: What it was loaded from.
        published: The state that the bundle was published with.
        gate: Redis; None where none is used, and the catalogue cannot be written.
        metrics: Told of all that happens.
        settings: All settings.

    Attributes:
        tokenizer: Makes semantic IDs of items that training did not know.
        shared: The table in Redis.
        live: The catalogue's changes.
    """

    def __init__(
        self, bundle: Bundle, published: Snapshot, gate: RedisGate | None, metrics: Metrics, settings: Settings
    ) -> None:
        self.bundle = bundle
        self.tokenizer = ItemTokenizer(bundle)
        self.shared: SharedTable | None = None
        self.live: LiveCatalogue | None = None
        self._published = published
        self._keeping_house = Periodic(self._keep_house, settings.redis_check_s)
        if gate is not None:
            self.shared = SharedTable(gate, published.version, metrics, settings)
            log = ChangeLog(gate, published.version)
            self.live = LiveCatalogue(published, self.tokenizer, log, metrics, settings, self._tell)

    @classmethod
    async def load(cls, bundle: Bundle, gate: RedisGate | None, metrics: Metrics, settings: Settings) -> "ServedModel":
        """Loads a bundle and warms its search up, in a thread."""
        published = await asyncio.to_thread(load_snapshot, bundle, settings, metrics)
        return cls(bundle, published, gate, metrics, settings)

    @property
    def snapshot(self) -> Snapshot:
        """The state now."""
        return self._published if self.live is None else self.live.snapshot

    async def start(self) -> None:
        """Catches up with the changes, writes the table, and goes on with both; with Redis away, as soon as it is back.

        Raises:
            BadChange: If other software has written the changes.
        """
        if self.live is None or self.shared is None:
            return
        try:
            await self.live.start()
            await self.shared.keep_whole(self.snapshot.table)
        except RedisAway as error:
            logger.warning("Redis is away (%s): answering from the own copy", error)
        self._keeping_house.start()

    async def stop(self) -> None:
        """Follows nothing any more."""
        if self.live is not None:
            await self._keeping_house.stop()
            await self.live.stop()

    async def _keep_house(self) -> None:
        assert self.shared is not None
        with contextlib.suppress(RedisAway):
            await self.shared.keep_whole(self.snapshot.table)

    async def _tell(self, before: Snapshot, after: Snapshot, item_ids: Sequence[str]) -> None:
        if self.shared is not None:
            await self.shared.update(before.table, after.table, item_ids)
