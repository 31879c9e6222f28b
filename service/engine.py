"""The running service: the loaded model, the queue before its search, and what keeps both going."""

import asyncio
import contextlib
import gc
import logging
from collections.abc import Callable, Mapping, Sequence

from models.bundle import read_bundle
from models.eligibility import Eligibility
from models.recommender import Ranking
from service.batcher import Batcher
from service.errors import Overloaded
from service.redis_client import RedisAway, RedisGate
from service.schemas import Condition
from service.settings import Settings
from service.shared_table import SharedTable
from service.snapshot import SearchKey, SearchWork, Snapshot, load_snapshot, search
from service.telemetry import Metrics

Search = Callable[[SearchKey, Sequence[SearchWork]], Sequence[Ranking]]
logger = logging.getLogger("rqrec")


class Engine:
    """Loads a bundle, batches searches, and looks after the table in Redis.

    Args:
        settings: All settings.
        metrics: Told of all that happens.
        search: Answers a batch; another one is for comparison.

    Attributes:
        snapshot: What answers requests now; None until loaded and after `stop`.
        shared: The table in Redis; None where none is used.
    """

    def __init__(self, settings: Settings, metrics: Metrics, search: Search = search) -> None:
        self.settings = settings
        self.metrics = metrics
        self.snapshot: Snapshot | None = None
        self.shared: SharedTable | None = None
        self._gate = RedisGate(settings, metrics) if settings.redis_url is not None else None
        self._housekeeping: asyncio.Task[None] | None = None
        self.batcher: Batcher[SearchKey, SearchWork, Ranking] = Batcher(
            search,
            metrics,
            workers=settings.search_workers,
            max_batch=settings.max_batch,
            max_queue=settings.max_queue,
        )

    async def start(self) -> None:
        """Reads the bundle, fills the table, warms the search up, then becomes ready.

        Raises:
            BundleError: If the bundle cannot be used.
        """
        self.batcher.start()
        bundle = await asyncio.to_thread(read_bundle, self.settings.bundle)
        snapshot = await asyncio.to_thread(load_snapshot, bundle, self.settings, self.metrics)
        if self._gate is not None:
            self.shared = SharedTable(self._gate, snapshot.version, self.metrics, self.settings)
            await self._keep_whole(self.shared, snapshot)
            self._housekeeping = asyncio.create_task(self._keep_house())
        tokenizer = bundle.manifest.metrics.get("tokenizer", {})
        self.metrics.describe_model(snapshot.version, len(snapshot.table), tokenizer)
        self.snapshot = snapshot
        # What is loaded stays: without this a full collection walks through it all and stops every request for 60 ms.
        gc.collect()
        gc.freeze()

    def overloaded(self) -> Overloaded | None:
        """The error for a request that comes now, if more wait already than may."""
        if not self.batcher.is_full:
            return None
        self.metrics.shed.labels("overload").inc()
        return self.batcher.overloaded()

    async def eligibility(self, snapshot: Snapshot, conditions: Mapping[str, Condition]) -> Eligibility:
        """The leaves that meet a filter; one not answered lately is worked out in a thread.

        Raises:
            InvalidFilter: If the catalogue cannot answer it.
        """
        if not conditions:
            return snapshot.recommender.everything
        return await asyncio.to_thread(snapshot.filters.eligibility, conditions)

    async def stop(self) -> None:
        """Stops being ready, answers what waits, closes connections."""
        self.snapshot = None
        await asyncio.to_thread(self.batcher.stop)
        if self._housekeeping is not None:
            self._housekeeping.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._housekeeping
        if self._gate is not None:
            await self._gate.close()

    async def _keep_house(self) -> None:
        while True:
            await asyncio.sleep(self.settings.redis_check_s)
            if self.shared is not None and self.snapshot is not None:
                await self._keep_whole(self.shared, self.snapshot)

    async def _keep_whole(self, shared: SharedTable, snapshot: Snapshot) -> None:
        try:
            await shared.keep_whole(snapshot.table)
        except RedisAway as error:
            logger.warning("Redis is away (%s): answering from the own copy", error)
