"""The running service: the deployed models, the search queue, admission, and the connection to Redis."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from rqrec.models.search.eligibility import Eligibility
from rqrec.models.search.ranking import Ranking
from rqrec.service.admission.admission import Admission
from rqrec.service.catalogue.filter_flights import FilterFlights
from rqrec.service.catalogue.snapshot import Snapshot
from rqrec.service.contract import Condition
from rqrec.service.errors import NotReady
from rqrec.service.redis.client import RedisGate
from rqrec.service.search.batch_search import SearchKey, SearchWork
from rqrec.service.search.batcher import Batcher
from rqrec.service.serving.deployment import Deployment
from rqrec.service.serving.model_switch import ModelSwitch
from rqrec.service.telemetry import Metrics

MAX_SHADOWS = 8  # concurrent searches of a shadow model
logger = logging.getLogger("rqrec")


@dataclass(frozen=True)
class RequestLimits:
    """Limits and defaults of one request.

    Attributes:
        max_body_bytes: Largest body, in bytes.
        max_history_items: Longest history or exclude list.
        beam_width: Beams kept at every level where a request sets no width.
        timeout_s: Time for the answer where a request sets none, in seconds.
    """

    max_body_bytes: int
    max_history_items: int
    beam_width: int
    timeout_s: float


class Runtime:
    """The parts of the running service, and their start and stop.

    Args:
        models: Holds the deployed models.
        batcher: Runs searches in batches.
        admission: Gives out permits.
        gate: Redis; None if no Redis is used.
        metrics: The metrics.
        limits: Limits and defaults of one request.

    Attributes:
        models: Holds the deployed models.
        batcher: Runs searches in batches.
        admission: Gives out permits.
        gate: Redis; None if no Redis is used.
        metrics: The metrics.
        limits: Limits and defaults of one request.
    """

    def __init__(
        self,
        *,
        models: ModelSwitch,
        batcher: Batcher[SearchKey, SearchWork, Ranking],
        admission: Admission,
        gate: RedisGate | None,
        metrics: Metrics,
        limits: RequestLimits,
    ) -> None:
        self.models = models
        self.batcher = batcher
        self.admission = admission
        self.gate = gate
        self.metrics = metrics
        self.limits = limits
        self._is_draining = self._is_stopping = False
        self._filter_flights = FilterFlights()
        self._long_turn = asyncio.Semaphore()
        self._shadows: set[asyncio.Task[None]] = set()
        metrics.catalogue_items.set_function(lambda: self._of_active(lambda snapshot: len(snapshot.table)))
        metrics.catalogue_version.set_function(lambda: self._of_active(lambda snapshot: snapshot.catalogue_version))

    async def start(self) -> None:
        """Starts the search threads, loads the models, and catches up with the changes of the catalogue.

        Raises:
            UnusableModel: If the bundle cannot be loaded.
            BundleError: If there is no bundle.
        """
        self.batcher.start()
        await self.models.start()

    @property
    def deployment(self) -> Deployment:
        """The loaded models in their roles. A request reads this once.

        Raises:
            NotReady: If no model is loaded, or the service takes no further request.
        """
        if self.models.deployment is None or self._is_stopping:
            raise NotReady("the model is being loaded, or the service is shutting down: see /readyz")
        return self.models.deployment

    def check_ready(self) -> None:
        """Checks readiness.

        Raises:
            NotReady: If a load balancer should not send traffic here.
        """
        if self._is_draining:
            raise NotReady("the service is shutting down")
        if not self.batcher.is_working:
            raise NotReady("the search has crashed and is being restarted")
        self.models.check_ready()

    def begin_drain(self) -> None:
        """Makes the service not ready, while it still answers requests."""
        self._is_draining = True

    def stop_accepting(self) -> None:
        """Refuses further requests that need a model."""
        self._is_stopping = True

    async def eligibility(self, snapshot: Snapshot, conditions: Mapping[str, Condition]) -> Eligibility:
        """The items that pass a filter; see `service.catalogue.filter_flights`.

        Args:
            snapshot: The catalogue.
            conditions: The filter: conditions by attribute.

        Raises:
            InvalidFilter: If the catalogue cannot answer the filter.
        """
        if not conditions:
            return snapshot.recommender.everything
        return await self._filter_flights.eligibility(snapshot.filters, conditions)

    @asynccontextmanager
    async def long_turn(self) -> AsyncIterator[None]:
        """Runs work of milliseconds on the event loop, one block at a time, so that other requests run in between."""
        async with self._long_turn:
            await asyncio.sleep(0)
            yield

    def spawn_shadow(self, work: Coroutine[Any, Any, None]) -> None:
        """Runs the search of a shadow model in a task. Skips it if requests wait, or if MAX_SHADOWS searches run."""
        if len(self._shadows) >= MAX_SHADOWS or self.batcher.waiting > 0:
            self.metrics.shadow_answers.labels("skipped").inc()
            work.close()
            return
        task = asyncio.create_task(work)
        self._shadows.add(task)
        task.add_done_callback(self._note_shadow)

    async def stop(self) -> None:
        """Stops all parts. Searches that wait are finished first."""
        await self.models.stop()
        await asyncio.to_thread(self.batcher.stop)
        self._filter_flights.stop()
        if self._shadows:
            await asyncio.wait(self._shadows)
        if self.gate is not None:
            await self.gate.close()

    def _note_shadow(self, task: asyncio.Task[None]) -> None:
        self._shadows.discard(task)
        if (error := task.exception()) is not None:
            logger.warning("the search of a shadow model failed: %r", error)
        self.metrics.shadow_answers.labels("answered" if error is None else "failed").inc()

    def _of_active(self, figure: Callable[[Snapshot], float]) -> float:
        """A figure of the active model's snapshot; 0 if no model is loaded."""
        deployment = self.models.deployment
        return 0 if deployment is None else figure(deployment.active.snapshot)
