"""The running service: the models that answer, the queue before their search, and the connection to Redis."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from rqrec.models.search.eligibility import Eligibility
from rqrec.models.search.ranking import Ranking
from rqrec.service.admission.admission import Admission
from rqrec.service.catalogue.filter_flights import FilterFlights
from rqrec.service.catalogue.snapshot import Snapshot
from rqrec.service.contract import Condition
from rqrec.service.errors import NotReady
from rqrec.service.redis.client import RedisGate
from rqrec.service.search.batch_search import SearchKey, SearchWork, search
from rqrec.service.search.batcher import Batcher
from rqrec.service.serving.deployment import Deployment
from rqrec.service.serving.model_switch import ModelSwitch
from rqrec.service.settings import Settings
from rqrec.service.telemetry import Metrics

Search = Callable[[SearchKey, Sequence[SearchWork]], Sequence[Ranking]]

MAX_SHADOWS = 8  # at the same time
logger = logging.getLogger("rqrec")


class Runtime:
    """Batches searches over the models that are loaded.

    Args:
        settings: All settings.
        metrics: Told of all that happens.
        search: Answers a batch; another one is for comparison.

    Attributes:
        models: Which models answer, and how that changes.
        batcher: The queue before the search.
        admission: Lets requests in.
        gate: Redis; None where none is used.
    """

    def __init__(self, settings: Settings, metrics: Metrics, search: Search = search) -> None:
        self.settings = settings
        self.metrics = metrics
        self.gate = RedisGate(settings, metrics) if settings.redis_url is not None else None
        self.models = ModelSwitch(self.gate, metrics, settings)
        self._is_draining = self._refuses = False
        self._filter_flights = FilterFlights()
        self._long_turn = asyncio.Semaphore()
        self._shadows: set[asyncio.Task[None]] = set()
        metrics.catalogue_items.set_function(lambda: self._of_active(lambda snapshot: len(snapshot.table)))
        metrics.catalogue_version.set_function(lambda: self._of_active(lambda snapshot: snapshot.catalogue_version))
        self.batcher: Batcher[SearchKey, SearchWork, Ranking] = Batcher(
            search,
            metrics,
            workers=settings.search_workers,
            max_batch=settings.max_batch,
            max_queue=settings.max_queue,
        )
        self.admission = Admission(
            settings,
            metrics,
            running=lambda: self.batcher.running,
            seconds_per_request=lambda: self.batcher.seconds_per_request,
        )

    async def start(self) -> None:
        """Loads the model, catches up with its changes, then becomes ready.

        Raises:
            BundleError: If the bundle cannot be used.
        """
        self.batcher.start()
        await self.models.start()

    @property
    def deployment(self) -> Deployment:
        """Who answers now; a request reads it once.

        Raises:
            NotReady: If nobody does.
        """
        if self.models.deployment is None or self._refuses:
            raise NotReady("the model is being loaded, or the service is shutting down: see /readyz")
        return self.models.deployment

    def check_ready(self) -> None:
        """Returns if requests had better come here.

        Raises:
            NotReady: If they had not.
        """
        if self._is_draining:
            raise NotReady("the service is shutting down")
        if not self.batcher.is_working:
            raise NotReady("the search has crashed and is being started anew")
        self.models.check_ready()

    def begin_drain(self) -> None:
        """Is ready no more, and still answers."""
        self._is_draining = True

    def stop_accepting(self) -> None:
        """Takes no further request."""
        self._refuses = True

    async def eligibility(self, snapshot: Snapshot, conditions: Mapping[str, Condition]) -> Eligibility:
        """The items that meet a filter; see `service.catalogue.filter_flights`.

        Raises:
            InvalidFilter: If the catalogue cannot answer it.
        """
        if not conditions:
            return snapshot.recommender.everything
        return await self._filter_flights.eligibility(snapshot.filters, conditions)

    @asynccontextmanager
    async def long_turn(self) -> AsyncIterator[None]:
        """For work of milliseconds on the event loop: one at a time, and everything else comes in between."""
        async with self._long_turn:
            await asyncio.sleep(0)
            yield

    def spawn_shadow(self, work: Coroutine[Any, Any, None]) -> None:
        """Does a shadow's work once the answer is on its way; not at all where others would have to wait for it."""
        if len(self._shadows) >= MAX_SHADOWS or self.batcher.waiting > 0:
            self.metrics.shadow_answers.labels("skipped").inc()
            work.close()
            return
        task = asyncio.create_task(work)
        self._shadows.add(task)
        task.add_done_callback(self._note_shadow)

    async def stop(self) -> None:
        """Stops being ready, answers what waits, closes connections."""
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
            logger.warning("the shadow failed: %r", error)
        self.metrics.shadow_answers.labels("answered" if error is None else "failed").inc()

    def _of_active(self, figure: Callable[[Snapshot], float]) -> float:
        deployment = self.models.deployment
        return 0 if deployment is None else figure(deployment.active.snapshot)
