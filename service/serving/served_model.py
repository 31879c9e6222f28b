"""A model in service: a loaded bundle, and the catalogue of this model, which follows the changes in Redis."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from threading import Thread
from typing import Any

from rqrec.models.bundle.bundle import Bundle, check_mapped_files
from rqrec.models.bundle.error import BundleError
from rqrec.models.items.item_tokenizer import ItemTokenizer, NoTextEncoder
from rqrec.service.browse.browser import Browser
from rqrec.service.catalogue.changes import Put
from rqrec.service.catalogue.item_content import tokenise
from rqrec.service.catalogue.snapshot import Snapshot
from rqrec.service.errors import NotReady
from rqrec.service.periodic import Periodic
from rqrec.service.redis.client import RedisGate, RedisUnavailable
from rqrec.service.replication.catalogue_migration import CatalogueMigration
from rqrec.service.replication.change_log import ChangeLog
from rqrec.service.replication.live_catalogue import LiveCatalogue
from rqrec.service.replication.redis_table import RedisTable
from rqrec.service.replication.tombstones import Tombstones
from rqrec.service.serving.history import EventTypes
from rqrec.service.serving.loading import load_proven_snapshot
from rqrec.service.serving.model_options import ModelOptions
from rqrec.service.telemetry import Metrics

logger = logging.getLogger("rqrec")


class ServedModel:
    """A model in service: a loaded bundle (the published files), and the catalogue, which follows the changes in Redis.

    Only the class method `open` should make objects of this class, because it also starts and stops them.

    Args:
        bundle: The bundle.
        published: The snapshot of the catalogue when the model was published, without later changes.
        tokenizer: The item tokenizer, which computes the codes and vectors of written items.
        gate: The client of Redis; None if no Redis is used, so that items cannot be written.
        metrics: Counts changes of the catalogue.
        options: How the catalogue follows the changes in Redis.

    Attributes:
        bundle: The bundle.
        tokenizer: The item tokenizer.
        event_types: The event types that items of a history may have.
        browser: Looks into the catalogue: items like one, search by words, attributes.
        live: The catalogue, which follows the changes in Redis; None if no Redis is used.
    """

    def __init__(
        self,
        bundle: Bundle,
        published: Snapshot,
        tokenizer: ItemTokenizer,
        gate: RedisGate | None,
        metrics: Metrics,
        options: ModelOptions,
    ) -> None:
        self.bundle = bundle
        self.event_types = EventTypes.from_manifest(bundle.manifest)
        self.tokenizer = tokenizer
        self.browser = Browser(bundle, published, tokenizer)
        self.live: LiveCatalogue | None = None
        self._shared: RedisTable | None = None
        self._published = published
        self._migration: CatalogueMigration | None = None
        self._tombstones: Tombstones | None = None
        self._options = options
        # These threads are separate, because the texts of items take long. A second thread serves items that bring
        # their own vectors meanwhile.
        self._tokenising = ThreadPoolExecutor(2, "rqrec-tokenise")
        self._is_stopped = False
        self._damage = ""
        self._maintenance = Periodic(self._maintain, options.check_every_s)
        if gate is not None:
            if options.table_lives_s:
                self._shared = RedisTable(gate, published.version, keys_live_s=options.table_lives_s)
            log = ChangeLog(gate, published.version)
            self.live = LiveCatalogue(
                published,
                tokenizer,
                log,
                metrics,
                self._notify,
                poll_every_s=options.poll_every_s,
                save_every=options.save_every,
                write_timeout_s=options.write_timeout_s,
                outdated_after_s=options.tombstones_live_s,
            )
            self._tombstones = Tombstones(
                gate, log, self.live, live_s=options.tombstones_live_s, at_least=options.save_every
            )
            self._migration = CatalogueMigration(gate, log, published, self.live, tokenizer, metrics, self._tokenising)

    @classmethod
    @asynccontextmanager
    async def open(
        cls, bundle: Bundle, *, gate: RedisGate | None, metrics: Metrics, options: ModelOptions
    ) -> AsyncIterator["ServedModel"]:
        """Context manager: loads a bundle and yields its model; the end of the block stops the model.

        The search is warmed up, and must give the answers that are recorded in the bundle. The text encoder is checked.
        With Redis, the catalogue follows the changes there, even if Redis does not answer yet when this is called.

        Args:
            bundle: The bundle.
            gate: The client of Redis; None if no Redis is used.
            metrics: Counts changes of the catalogue.
            options: How to load the bundle, and how its catalogue follows Redis.

        Raises:
            BundleError: If the bundle is invalid, or does not give the recorded answers.
        """

        def load() -> tuple[Snapshot, ItemTokenizer]:
            published = load_proven_snapshot(bundle, options.load, metrics)
            tokenizer = ItemTokenizer(bundle)
            _check_text_encoder(tokenizer, is_kept=gate is not None and options.accepts_writes)
            return published, tokenizer

        published, tokenizer = await asyncio.to_thread(load)
        model = cls(bundle, published, tokenizer, gate, metrics, options)
        try:
            await model._start()
            yield model
        finally:
            await model._stop()

    @property
    def version(self) -> str:
        """The version of the model."""
        return self._published.version

    @property
    def snapshot(self) -> Snapshot:
        """The present state of this model's catalogue."""
        return self._published if self.live is None else self.live.snapshot

    @property
    def is_current(self) -> bool:
        """Whether this model's catalogue had all changes when it last read the change log; True without Redis."""
        return self.live is None or self.live.is_current

    @property
    def num_left_out(self) -> int:
        """The number of written items of other models that this replica could not migrate to this model."""
        return len(self._migration.left_out) if self._migration is not None else 0

    def check_mapped_files(self) -> None:
        """Starts to check the files of the bundle that are mapped into memory, in a thread. See `check_ready`."""
        if self.bundle.manifest.is_mapped:
            Thread(target=self._check_mapped_files, name="rqrec-check", daemon=True).start()

    def _check_mapped_files(self) -> None:
        try:
            check_mapped_files(self.bundle)
        except BundleError as error:
            logger.error("%s", error)  # noqa: TRY400 - no traceback
            self._damage = str(error)
        else:
            logger.info("the mapped files of %s are undamaged", self.version)

    def check_ready(self) -> None:
        """Checks that all changes of the catalogue in Redis were applied at least once since the model was opened.

        Raises:
            NotReady: If not all changes were applied, and the option `ready_without_redis` is off; or if a mapped file
                of the bundle is damaged.
        """
        if self._damage:
            raise NotReady(self._damage)
        if self.live is not None and not (self.live.has_caught_up or self._options.ready_without_redis):
            raise NotReady(
                "the changes of the catalogue are not read yet: Redis does not answer, or they are still being read"
            )

    async def tokenise(self, item_id: str, attributes: Mapping[str, Any], text_vector: list[float] | None) -> Put:
        """Makes the change that adds or replaces an item, from the attributes that a client sends. Works in a thread.

        Args:
            item_id: Id of the item.
            attributes: The item's attributes by name.
            text_vector: Embedding of the item's text; None to let the bundle's text encoder compute it.

        Raises:
            InvalidItem: If an attribute is unknown, a value has a wrong type, or the text cannot be embedded.
            NotReady: If this model was stopped, because another model has taken its role.
        """
        if self._is_stopped:
            raise NotReady("another model took over from this one: send it again")
        schema = self.snapshot.filters.schema
        return await asyncio.get_running_loop().run_in_executor(
            self._tokenising, tokenise, item_id, attributes, text_vector, schema, self.tokenizer
        )

    async def take_over(self, version: str) -> None:
        """Copies the changes in another model's change log to this model's catalogue, now and regularly from now on.

        Also applies all new changes in this model's own change log.

        Args:
            version: Version of the other model.

        Raises:
            RedisUnavailable: If Redis does not answer. The copying is then tried again regularly.
        """
        if self._migration is not None and self.live is not None:
            await self._migration.begin(version)
            await self._migration.step()
            await self.live.catch_up()

    async def absorb(self, other: "ServedModel") -> None:
        """Copies all written and deleted items of another model to this model, from the memory of this replica.

        Args:
            other: The other model.

        Raises:
            RedisUnavailable: If Redis does not answer.
            NotReady: If Redis loses the migrated changes again and again.
        """
        if self._migration is not None and other.live is not None and other is not self:
            await self._migration.absorb(other.live)

    async def _start(self) -> None:
        if self.live is None:
            return
        with contextlib.suppress(RedisUnavailable):  # already logged by the client
            await self.live.start()
            await self._keep_table()
        self._maintenance.start()

    async def _stop(self) -> None:
        if self.live is not None:
            await self._maintenance.stop()
            await self.live.stop()
        self._is_stopped = True
        self._tokenising.shutdown(wait=False)

    async def _maintain(self) -> None:
        """Checks and repairs what this model has in Redis, and migrates further changes."""
        assert self._migration is not None
        assert self._tombstones is not None
        assert self.live is not None
        if not self.live.has_caught_up:
            return
        with contextlib.suppress(RedisUnavailable):
            await self.live.check_entries()
            await self._keep_table()
            await self._migration.step()
            await self._tombstones.forget()

    async def _keep_table(self) -> None:
        """Keeps the table in Redis complete, if the settings want one."""
        if self._shared is not None and self.live is not None:
            await self._shared.keep_whole(self.snapshot.table, self.live.point)

    async def _notify(self, before: Snapshot, after: Snapshot, item_ids: Sequence[str]) -> None:
        """Writes changed items into the table in Redis. The live catalogue calls this after every change."""
        if self._shared is not None and self.live is not None:
            await self._shared.update(before.table, after.table, item_ids, self.live.point)


def _check_text_encoder(tokenizer: ItemTokenizer, *, is_kept: bool) -> None:
    """Opens and checks the text encoder, and keeps it in memory if items can be written."""
    try:
        if is_kept:
            tokenizer.load_text_encoder()
        else:
            tokenizer.checked_text_encoder()
    except NoTextEncoder as error:
        if is_kept:
            logger.info("%s: items need a text_vector, or no text", error)
