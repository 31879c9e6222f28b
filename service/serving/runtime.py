"""The running service: the loaded models, the search queue, the client of Redis, and the admission of requests.

The admission refuses requests when too many are waiting.
"""

import asyncio
import functools
import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, ParamSpec, TypeVar

from rqrec.models.search.eligibility import Eligibility
from rqrec.service.admission.admission import Admission
from rqrec.service.catalogue.filter_conditions import FilterTerm
from rqrec.service.catalogue.filter_flights import FilterFlights
from rqrec.service.catalogue.snapshot import Snapshot
from rqrec.service.contract.filter import Condition
from rqrec.service.errors import NotReady
from rqrec.service.redis.client import RedisGate
from rqrec.service.search.batch_search import SearchBatcher
from rqrec.service.serving.deployment import Deployment
from rqrec.service.serving.model_switch import ModelSwitch
from rqrec.service.serving.promotion import PromotionWatch
from rqrec.service.telemetry import Metrics
from rqrec.service.users.users import Users

MAX_SHADOWS = 8  # concurrent searches of a shadow model
BROWSE_THREADS = 2  # with two, a quick call can overtake one that makes an index
P = ParamSpec("P")
ResultT = TypeVar("ResultT")
logger = logging.getLogger("rqrec")


@dataclass(frozen=True)
class RequestLimits:
    """Limits of one request, and default values for fields that a request does not set.

    Attributes:
        max_body_bytes: Largest body, in bytes.
        max_history_items: Largest number of items in the history, and in the list `exclude`.
        beam_width: Default number of beams that the search keeps at every level.
        timeout_s: Default time for the answer, in seconds.
    """

    max_body_bytes: int
    max_history_items: int
    beam_width: int
    timeout_s: float


class Runtime:
    """The running service: holds its parts, starts them and stops them.

    Args:
        models: Loads the models and holds the deployment: the loaded models with their roles.
        batcher: Runs searches in batches.
        admission: Refuses requests when too many are waiting.
        gate: The client of Redis; None if no Redis is used.
        users: Stores what users do and what they are shown, and reads it for recommendations.
        promotion: Watches the trial of a canary.
        metrics: The metrics.
        limits: Limits and default values of one request.

    Attributes:
        models: Loads the models and holds the deployment.
        batcher: Runs searches in batches.
        admission: Refuses requests when too many are waiting.
        gate: The client of Redis; None if no Redis is used.
        users: Stores what users do and what they are shown, and reads it for recommendations.
        promotion: Watches the trial of a canary.
        metrics: The metrics.
        limits: Limits and default values of one request.
    """

    def __init__(
        self,
        *,
        models: ModelSwitch,
        batcher: SearchBatcher,
        admission: Admission,
        gate: RedisGate | None,
        users: Users,
        promotion: PromotionWatch,
        metrics: Metrics,
        limits: RequestLimits,
    ) -> None:
        self.models = models
        self.batcher = batcher
        self.admission = admission
        self.gate = gate
        self.users = users
        self.promotion = promotion
        self.metrics = metrics
        self.limits = limits
        self._is_draining = self._is_stopping = False
        self._filter_flights = FilterFlights()
        self._long_turn = asyncio.Semaphore()
        self._browsing = ThreadPoolExecutor(BROWSE_THREADS, "rqrec-browse")
        self._shadows: set[asyncio.Task[None]] = set()
        metrics.catalogue_items.set_function(lambda: self._of_active(lambda snapshot: len(snapshot.table)))
        metrics.catalogue_version.set_function(lambda: self._of_active(lambda snapshot: snapshot.catalogue_version))

    async def start(self) -> None:
        """Starts the search threads, loads the models, and applies the changes of the catalogue that Redis holds.

        Raises:
            UnusableModel: If the bundle cannot be loaded.
            BundleError: If there is no bundle.
        """
        self.batcher.start()
        await self.models.start()
        self.users.start()
        self.promotion.start()

    @property
    def deployment(self) -> Deployment:
        """The loaded models with their roles. A request reads this only once, because it may change meanwhile.

        Raises:
            NotReady: If no model is loaded, or after `stop_accepting` was called.
        """
        if self.models.deployment is None or self._is_stopping:
            raise NotReady("the model is being loaded, or the service is shutting down: see /readyz")
        return self.models.deployment

    def check_ready(self) -> None:
        """Checks that the service is ready: all models are ready, the search threads run, and no shutdown has begun.

        Raises:
            NotReady: If one of these is not true, so that a load balancer should not send traffic here.
        """
        if self._is_draining:
            raise NotReady("the service is shutting down")
        if not self.batcher.is_working:
            raise NotReady("the search has crashed and is being restarted")
        self.models.check_ready()

    def begin_drain(self) -> None:
        """Makes `Runtime.check_ready` fail: load balancers then stop sending traffic. Requests are still answered."""
        self._is_draining = True

    def stop_accepting(self) -> None:
        """Refuses new requests that need a model: `Runtime.deployment` raises NotReady from now on."""
        self._is_stopping = True

    async def eligibility(
        self, snapshot: Snapshot, conditions: Mapping[str, Condition], further: Sequence[FilterTerm] = ()
    ) -> Eligibility:
        """Finds the items that meet every condition of a filter, from a cache or by a computation in a thread.

        Args:
            snapshot: The state of the catalogue.
            conditions: The conditions, by the name of the attribute. Without conditions, all items are eligible.
            further: Terms that the items must pass too.

        Raises:
            InvalidFilter: If an attribute is unknown, or its type does not fit its condition.
        """
        if not conditions and not further:
            return snapshot.recommender.everything
        return await self._filter_flights.eligibility(snapshot.filters, conditions, further)

    @asynccontextmanager
    async def long_turn(self) -> AsyncIterator[None]:
        """Context manager for a block that keeps the event loop busy for some milliseconds.

        Only one such block runs at a time, and other requests run between two of these blocks.
        """
        async with self._long_turn:
            await asyncio.sleep(0)
            yield

    async def browse(self, function: Callable[P, ResultT], *args: P.args, **kwargs: P.kwargs) -> ResultT:
        """Calls a function that looks into the catalogue in one of BROWSE_THREADS threads, and returns its result.

        If the caller is cancelled, a call that has not started yet is dropped.

        Args:
            function: The function.
            *args: Its arguments.
            **kwargs: Its arguments by name.
        """
        call = functools.partial(function, *args, **kwargs)
        return await asyncio.get_running_loop().run_in_executor(self._browsing, call)

    def spawn_shadow(self, work: Coroutine[Any, Any, None]) -> None:
        """Starts a search with a shadow model as a task. Skips it if the service is busy, and counts that.

        Busy means that requests wait in the search queue, or that MAX_SHADOWS shadow searches are running.

        Args:
            work: The coroutine that searches with the shadow model.
        """
        if len(self._shadows) >= MAX_SHADOWS or self.batcher.waiting > 0:
            self.metrics.shadow_answers.labels("skipped").inc()
            work.close()
            return
        task = asyncio.create_task(work)
        self._shadows.add(task)
        task.add_done_callback(self._note_shadow)

    async def stop(self) -> None:
        """Stops all parts of the service. Searches that are waiting are finished first."""
        await self.promotion.stop()
        await self.models.stop()
        await asyncio.to_thread(self.batcher.stop)
        self._filter_flights.stop()
        self._browsing.shutdown(wait=False, cancel_futures=True)
        if self._shadows:
            await asyncio.wait(self._shadows)
        await self.users.stop()
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
