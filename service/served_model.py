"""A bundle that answers: its state, its table in Redis, and the changes that it follows."""

import asyncio
import contextlib
import logging
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from models.bundle import Bundle, BundleError
from models.golden import Golden, golden_faults
from models.item_tokenizer import ItemTokenizer, NoTextEncoder
from service.carry_over import CarryOver
from service.change_log import ChangeLog
from service.changes import Put
from service.item_content import tokenise
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
        self._carry_over: CarryOver | None = None
        self._warming_up: asyncio.Future[None] | None = None
        self._warms_up = settings.admin_token is not None
        # Threads of their own: texts wait while their encoder is loaded, and may not take the threads of others. Two,
        # for items that come with their vectors need not wait for that.
        self._tokenising = ThreadPoolExecutor(2, "rqrec-tokenise")
        self._keeping_house = Periodic(self._keep_house, settings.redis_check_s)
        if gate is not None:
            self.shared = SharedTable(gate, published.version, metrics, settings)
            log = ChangeLog(gate, published.version)
            self.live = LiveCatalogue(published, self.tokenizer, log, metrics, settings, self._tell)
            self._carry_over = CarryOver(gate, log, published, self.live, self.tokenizer, metrics, self._tokenising)

    @classmethod
    async def load(cls, bundle: Bundle, gate: RedisGate | None, metrics: Metrics, settings: Settings) -> "ServedModel":
        """Loads a bundle, warms its search up and asks what it must know, in a thread.

        Raises:
            BundleError: If its answers are not those known.
        """

        def load() -> Snapshot:
            published = load_snapshot(bundle, settings, metrics)
            golden = [Golden.of(fields) for fields in bundle.manifest.golden]
            if faults := golden_faults(published.recommender, golden):
                raise BundleError(
                    f"bundle {bundle.path} does not give its known answers here, so it is not served: {faults[0]}"
                )
            return published

        return cls(bundle, await asyncio.to_thread(load), gate, metrics, settings)

    @property
    def version(self) -> str:
        """The model's."""
        return self._published.version

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
        if self._warms_up:
            self._warming_up = asyncio.get_running_loop().run_in_executor(self._tokenising, self._load_text_encoder)
        try:
            await self.live.start()
            await self.shared.keep_whole(self.snapshot.table)
        except RedisAway as error:
            logger.warning("Redis is away (%s): answering from the own copy", error)
        self._keeping_house.start()

    async def tokenise(self, item_id: str, attributes: Mapping[str, Any], text_vector: list[float] | None) -> Put:
        """What is to be written of an item; see `service.item_content.tokenise`, which this calls in a thread."""
        schema = self.snapshot.filters.schema
        return await asyncio.get_running_loop().run_in_executor(
            self._tokenising, tokenise, item_id, attributes, text_vector, schema, self.tokenizer
        )

    async def take_over(self, version: str | None) -> None:
        """Carries over what was written for another model, now and as long as this one follows Redis."""
        if self._carry_over is None or self.live is None or version is None:
            return
        with contextlib.suppress(RedisAway):
            await self._carry_over.begin(version)
            await self._carry_over.step()
            await self.live.catch_up()

    async def stop(self) -> None:
        """Follows nothing any more."""
        if self.live is not None:
            await self._keeping_house.stop()
            await self.live.stop()
        self._tokenising.shutdown(wait=False)

    async def _keep_house(self) -> None:
        assert self.shared is not None
        assert self._carry_over is not None
        with contextlib.suppress(RedisAway):
            await self.shared.keep_whole(self.snapshot.table)
            await self._carry_over.step()

    def _load_text_encoder(self) -> None:
        try:
            self.tokenizer.load_text_encoder()
        except NoTextEncoder as error:
            logger.info("%s: items are written with text_vector, or without strings", error)

    async def _tell(self, before: Snapshot, after: Snapshot, item_ids: Sequence[str]) -> None:
        if self.shared is not None:
            await self.shared.update(before.table, after.table, item_ids)
