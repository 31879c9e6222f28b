"""A bundle that answers: its state, its table in Redis, and the changes that it follows."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any

from rqrec.models.bundle.bundle import Bundle
from rqrec.models.bundle.error import BundleError
from rqrec.models.bundle.golden import Golden, golden_faults
from rqrec.models.items.item_tokenizer import ItemTokenizer, NoTextEncoder
from rqrec.service.catalogue.changes import Put
from rqrec.service.catalogue.item_content import tokenise
from rqrec.service.catalogue.snapshot import Snapshot
from rqrec.service.errors import NotReady
from rqrec.service.periodic import Periodic
from rqrec.service.redis.client import RedisGate, RedisUnavailable
from rqrec.service.replication.catalogue_migration import CatalogueMigration
from rqrec.service.replication.change_log import ChangeLog
from rqrec.service.replication.live_catalogue import LiveCatalogue
from rqrec.service.replication.redis_table import SharedTable
from rqrec.service.serving.loading import load_snapshot
from rqrec.service.settings import Settings
from rqrec.service.telemetry import Metrics

logger = logging.getLogger("rqrec")


class ServedModel:
    """Made by `open`, which alone starts and stops it.

    Args:
        bundle: What it was loaded from.
        published: The state that the bundle was published with.
        tokenizer: Makes semantic IDs of items that training did not know.
        gate: Redis; None where none is used, and the catalogue cannot be written.
        metrics: Told of all that happens.
        settings: All settings.

    Attributes:
        live: The catalogue's changes.
    """

    def __init__(
        self,
        bundle: Bundle,
        published: Snapshot,
        tokenizer: ItemTokenizer,
        gate: RedisGate | None,
        metrics: Metrics,
        settings: Settings,
    ) -> None:
        self.bundle = bundle
        self.tokenizer = tokenizer
        self.live: LiveCatalogue | None = None
        self._shared: SharedTable | None = None
        self._published = published
        self._carry_over: CatalogueMigration | None = None
        self._settings = settings
        self._warming_up: asyncio.Future[None] | None = None
        # Threads of their own: texts wait while their encoder is loaded, and may not take the threads of others. Two,
        # for items that come with their vectors need not wait for that.
        self._tokenising = ThreadPoolExecutor(2, "rqrec-tokenise")
        self._keeping_house = Periodic(self._maintain, settings.redis_check_s)
        if gate is not None:
            self._shared = SharedTable(gate, published.version, settings)
            log = ChangeLog(gate, published.version)
            self.live = LiveCatalogue(published, tokenizer, log, metrics, settings, self._tell)
            self._carry_over = CatalogueMigration(gate, log, published, self.live, tokenizer, metrics, self._tokenising)

    @classmethod
    @asynccontextmanager
    async def open(
        cls, bundle: Bundle, gate: RedisGate | None, metrics: Metrics, settings: Settings
    ) -> AsyncIterator["ServedModel"]:
        """A model that follows Redis inside the block, if there is one; with Redis away, as soon as it is back.

        Its search is warmed up, and it has been asked what it must know.

        Raises:
            BundleError: If its answers are not those known.
        """

        def load() -> tuple[Snapshot, ItemTokenizer]:
            published = load_snapshot(bundle, settings, metrics)
            golden = [Golden.from_json(fields) for fields in bundle.manifest.golden]
            if faults := golden_faults(published.recommender, golden):
                raise BundleError(
                    f"bundle {bundle.path} does not give its known answers here, so it is not served: {faults[0]}"
                )
            return published, ItemTokenizer(bundle)

        published, tokenizer = await asyncio.to_thread(load)
        model = cls(bundle, published, tokenizer, gate, metrics, settings)
        try:
            await model._start()
            yield model
        finally:
            await model._stop()

    @property
    def version(self) -> str:
        """The model's."""
        return self._published.version

    @property
    def snapshot(self) -> Snapshot:
        """The state now."""
        return self._published if self.live is None else self.live.snapshot

    @property
    def is_current(self) -> bool:
        """Whether the state had all changes of the catalogue when this replica looked last."""
        return self.live is None or self.live.is_current

    def check_ready(self) -> None:
        """Checks that the model knows the catalogue as it is, and can take items.

        Raises:
            NotReady: If not.
        """
        if self.live is not None and not (self.live.has_caught_up or self._settings.ready_without_redis):
            raise NotReady("the changes of the catalogue are not read yet: Redis is away, or still being read")
        if self._warming_up is not None and not self._warming_up.done():
            raise NotReady("the text encoder is being loaded")

    async def until_ready(self) -> None:
        """Waits for the text encoder.

        Raises:
            NotReady: If the changes of the catalogue are not known.
        """
        if self._warming_up is not None:
            await asyncio.shield(self._warming_up)
        self.check_ready()

    async def tokenise(self, item_id: str, attributes: Mapping[str, Any], text_vector: list[float] | None) -> Put:
        """What is to be written of an item; see `item_content.tokenise`, which this calls in a thread."""
        schema = self.snapshot.filters.schema
        return await asyncio.get_running_loop().run_in_executor(
            self._tokenising, tokenise, item_id, attributes, text_vector, schema, self.tokenizer
        )

    async def take_over(self, version: str) -> None:
        """Carries over what was written for another model, now and as long as this one follows Redis.

        Raises:
            RedisUnavailable: If Redis is; it is carried over later.
        """
        if self._carry_over is not None and self.live is not None:
            await self._carry_over.begin(version)
            await self._carry_over.step()
            await self.live.catch_up()

    async def _start(self) -> None:
        if self.live is None or self._shared is None:
            return
        if self._settings.admin_token is not None:
            self._warming_up = asyncio.get_running_loop().run_in_executor(self._tokenising, self._load_text_encoder)
        with contextlib.suppress(RedisUnavailable):  # logged where it was noticed
            await self.live.start()
            await self._shared.keep_whole(self.snapshot.table, self.live.point)
        self._keeping_house.start()

    async def _stop(self) -> None:
        if self.live is not None:
            await self._keeping_house.stop()
            await self.live.stop()
        self._tokenising.shutdown(wait=False)

    async def _maintain(self) -> None:
        assert self._shared is not None
        assert self._carry_over is not None
        assert self.live is not None
        if not self.live.has_caught_up:
            return
        with contextlib.suppress(RedisUnavailable):
            await self.live.check_entries()
            await self._shared.keep_whole(self.snapshot.table, self.live.point)
            await self._carry_over.step()

    def _load_text_encoder(self) -> None:
        try:
            self.tokenizer.load_text_encoder()
        except NoTextEncoder as error:
            logger.info("%s: items are written with text_vector, or without strings", error)

    async def _tell(self, before: Snapshot, after: Snapshot, item_ids: Sequence[str]) -> None:
        if self._shared is not None and self.live is not None:
            await self._shared.update(before.table, after.table, item_ids, self.live.point)
