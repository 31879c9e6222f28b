"""The running service: the model that answers, the queue before its search, and the connection to Redis."""

import asyncio
import gc
from collections.abc import Callable, Mapping, Sequence

from models.bundle import read_bundle
from models.eligibility import Eligibility
from models.ranking import Ranking
from service.batcher import Batcher
from service.errors import Overloaded
from service.redis_client import RedisGate
from service.schemas import Condition
from service.served_model import ServedModel
from service.settings import Settings
from service.snapshot import SearchKey, SearchWork, Snapshot, search
from service.telemetry import Metrics

Search = Callable[[SearchKey, Sequence[SearchWork]], Sequence[Ranking]]


class Engine:
    """Loads a bundle and batches searches over it.

    Args:
        settings: All settings.
        metrics: Told of all that happens.
        search: Answers a batch; another one is for comparison.

    Attributes:
        model: What answers requests now; None until loaded and after `stop`.
    """

    def __init__(self, settings: Settings, metrics: Metrics, search: Search = search) -> None:
        self.settings = settings
        self.metrics = metrics
        self.model: ServedModel | None = None
        self._gate = RedisGate(settings, metrics) if settings.redis_url is not None else None
        self.batcher: Batcher[SearchKey, SearchWork, Ranking] = Batcher(
            search,
            metrics,
            workers=settings.search_workers,
            max_batch=settings.max_batch,
            max_queue=settings.max_queue,
        )

    async def start(self) -> None:
        """Reads the bundle, catches up with its changes, then becomes ready.

        Raises:
            BundleError: If the bundle cannot be used.
        """
        self.batcher.start()
        bundle = await asyncio.to_thread(read_bundle, self.settings.bundle)
        model = await ServedModel.load(bundle, self._gate, self.metrics, self.settings)
        await model.start()
        self.metrics.describe_model(model.snapshot.version, bundle.manifest.metrics.get("tokenizer", {}))
        self.metrics.catalogue_items.set(len(model.snapshot.table))
        self.model = model
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
        model, self.model = self.model, None
        await asyncio.to_thread(self.batcher.stop)
        if model is not None:
            await model.stop()
        if self._gate is not None:
            await self._gate.close()
