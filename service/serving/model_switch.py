"""Changes the models of a replica: loads a new model while the others answer, checks it, and gives it a role."""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path

from cachetools import TTLCache

from rqrec.models.bundle.bundle import Bundle
from rqrec.models.bundle.error import BundleError
from rqrec.models.bundle.manifest import Manifest
from rqrec.models.bundle.store import current_version
from rqrec.service.errors import Conflict, NotReady, UnknownModel
from rqrec.service.periodic import Periodic
from rqrec.service.redis.client import RedisGate, RedisUnavailable
from rqrec.service.serving.deployment import Deployment, Role, Rollout
from rqrec.service.serving.log_refusal import logs_refusal
from rqrec.service.serving.manifests import read_manifests
from rqrec.service.serving.open_models import OpenModels, exclude_from_collection
from rqrec.service.serving.served_model import ServedModel
from rqrec.service.serving.shared_rollout import SharedRollout
from rqrec.service.serving.write_turns import WriteTurns
from rqrec.service.telemetry import Metrics

REFUSED_FOR_S = 60.0  # how long a rollout that failed is not tried again
logger = logging.getLogger("rqrec")


class ModelSwitch:
    """Holds the loaded models of a replica, and follows the rollout in Redis, which gives every model its role.

    Args:
        bundles: Folder of a bundle, or folder of bundles whose link `current` names the bundle to serve.
        open_model: Returns a context manager that loads a bundle, yields the model, and stops the model at the end.
        gate: The client of Redis; None if no Redis is used, so that this replica follows no other replica.
        metrics: Shows the active model, and counts loaded models.
        poll_every_s: Pause between two reads of the rollout in Redis, in seconds.
        empty_wait_s: How long Redis must be empty at the start, in seconds, before this replica decides that it is the
            first replica.
        check_every_s: Pause before a switch that failed, as Redis or a model was not ready, is tried again, in seconds.
        ready_without_redis: Whether this replica is ready even if the rollout in Redis was never read.

    Attributes:
        bundles: The folder of bundles that was given.
        deployment: The loaded models with their roles; None before `start` and after `stop`.
    """

    def __init__(
        self,
        bundles: Path,
        open_model: Callable[[Bundle], AbstractAsyncContextManager[ServedModel]],
        gate: RedisGate | None,
        metrics: Metrics,
        *,
        poll_every_s: float,
        empty_wait_s: float,
        check_every_s: float,
        ready_without_redis: bool,
    ) -> None:
        self.deployment: Deployment | None = None
        self.bundles = bundles
        self._gate, self._metrics = gate, metrics
        self._ready_without_redis = ready_without_redis
        self._open = OpenModels(bundles, open_model, metrics)
        self._shared = SharedRollout(gate, empty_for_s=empty_wait_s)
        self._writes = WriteTurns()
        self._assigning, self._switching = asyncio.Lock(), asyncio.Lock()  # a change asked for here takes both
        self._following = Periodic(self._follow, poll_every_s)
        self._pause_s = check_every_s
        self._adopt_at = 0.0  # monotonic seconds
        self._refused: TTLCache[Rollout, None] = TTLCache(16, REFUSED_FOR_S)
        metrics.catalogue_current.set_function(
            lambda: self.deployment is not None and self.deployment.active.is_current
        )

    async def start(self) -> None:
        """Loads the models that have a role in Redis; if there are none or one fails, the bundle of the link `current`.

        Raises:
            UnusableModel: If the bundle of `current` cannot be loaded.
            BundleError: If `current` names no bundle.
        """
        if (rollout := await self._shared.read_at_start()) is not None:
            try:
                await self._switch(rollout)
            except Exception as error:
                logger.error("the rollout in Redis cannot be served here: %s", error)  # noqa: TRY400 - no traceback
        if self.deployment is None:
            await self._switch(Rollout(await asyncio.to_thread(current_version, self.bundles)))
        if self._gate is not None:
            self._following.start()

    async def stop(self) -> None:
        """Stops reading the roles of the models from Redis, and stops all loaded models of this replica."""
        if self._gate is not None:
            await self._following.stop()
        async with self._switching:
            self.deployment = None
            await self._open.retire(self._open.models)

    def check_ready(self) -> None:
        """Checks that this replica knows which model has which role, and that every loaded model is ready.

        Raises:
            NotReady: If one of these is not true, so that a load balancer should not send traffic here.
        """
        self._check_known()
        for model in self._running:
            model.check_ready()

    def _check_known(self) -> None:
        if not (self._shared.is_known or self._ready_without_redis):
            raise NotReady("the roles of the models are not known yet: Redis does not answer, or has lost them")

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[ServedModel]:
        """Context manager for one write: yields the active model, which stays active until the end of the block.

        Raises:
            NotReady: If no model is loaded.
        """
        async with self._writes.turn():
            if self.deployment is None:
                raise NotReady("the service is not ready, or shutting down")
            yield self.deployment.active

    async def learn_all(self, model: ServedModel) -> None:
        """Applies all confirmed writes of items to a model's catalogue, also those that the active model has received.

        Args:
            model: The model. It gets the changes in its own change log and in that of the model active in Redis.

        Raises:
            NotReady: If Redis does not answer.
        """
        try:
            await model.take_over(await self._shared.active_version() or model.version)
        except RedisUnavailable as error:
            raise NotReady(f"Redis does not answer ({error}), so items may be missing here: send it again") from error

    async def manifests(self) -> dict[str, Manifest | BundleError]:
        """Returns, by version, the manifest of each loaded model and each bundle in the folder, or the read error."""
        running = {model.version: model.bundle.manifest for model in self._running}
        return {**running, **await asyncio.to_thread(read_manifests, self.bundles)}

    @property
    def num_left_out(self) -> dict[str, int]:
        """For each loaded model, by version: the number of written items that could not be migrated to this model."""
        return {model.version: model.num_left_out for model in self._running}

    @logs_refusal
    async def assign(self, version: str, role: Role, percent: float, *, expected: int | None = None) -> Rollout:
        """Gives a model a role, on this replica now and on the other replicas soon. If this fails, nothing changes.

        Args:
            version: Version of the model.
            role: The new role of the model.
            percent: Percentage of the routing keys (see `Rollout`) that go to a canary or shadow, in [0, 100].
            expected: Revision of the only rollout that this call may change; None for the latest one.

        Returns:
            The new rollout.

        Raises:
            UnknownModel: If there is no bundle of this version.
            InvalidPart: If the active model is to become a canary or shadow.
            UnusableModel: If the bundle cannot be loaded, or does not give the answers recorded in it.
            Conflict: If another change of the roles was asked for here and is being made, or another replica makes one.
            NotReady: If a model is not loaded or not ready, or if Redis, through which other replicas follow, fails.
        """
        if self._assigning.locked():
            raise Conflict("another change of the models is being made: wait for it, and try again")
        async with self._assigning, self._switching:
            if self.deployment is None:
                raise NotReady("the service is not ready, or shutting down")
            self._check_known()
            if version not in await self.manifests():
                raise UnknownModel(f"there is no bundle {version!r}: GET /models lists the bundles")
            before = self._shared.latest(self.deployment.rollout)  # which this replica may not have switched to
            if expected not in {None, before.revision}:
                raise Conflict("the roles of the models have changed meanwhile: see GET /models")
            rollout = before.with_role(version, role, percent)
            try:
                await self._switch(rollout, before.revision)
            except RedisUnavailable as error:
                told = f"Redis does not answer ({error}), so other replicas would not follow: try again"
                raise NotReady(told) from error
            return rollout

    async def _follow(self) -> None:
        """Switches to the rollout in Redis if it is new, or stores this replica's one if Redis has lost it."""
        with contextlib.suppress(RedisUnavailable):
            assert self._gate is not None
            await self._gate.check_eviction()
            stored = await self._shared.read()
            if self.deployment is None or self._switching.locked():
                return
            mine = self.deployment.rollout
            if mine.revision > (0 if stored is None else stored.revision):
                logger.warning("Redis lost the rollout: stored %s again", mine)
                await self._shared.store(mine, mine.revision)
            elif (
                stored is not None
                and stored not in self._refused
                and (stored, stored.revision) != (mine, mine.revision)
                and time.monotonic() >= self._adopt_at
            ):
                await self._adopt(stored)
            # After the rollout: a replica that starts takes this key for the sign that the rollout is there.
            if self._shared.is_known and await self._shared.last_active() is None:
                await self._shared.note_active(self.deployment.active.version)

    async def _adopt(self, rollout: Rollout) -> None:
        """Switches to the rollout in Redis. After a failure this rollout is not tried again for REFUSED_FOR_S."""
        async with self._switching:
            try:
                await self._switch(rollout)
            except (RedisUnavailable, NotReady):
                self._adopt_at = time.monotonic() + self._pause_s
            except Exception as error:
                self._refused[rollout] = None
                logger.error("the rollout in Redis cannot be served here: %s", error)  # noqa: TRY400 - no traceback

    async def _switch(self, rollout: Rollout, known_revision: int | None = None) -> None:
        """Loads the models of a rollout and lets them answer. If this fails, the deployment does not change.

        Args:
            rollout: The rollout.
            known_revision: Revision of the rollout before, if this one is new and has to be stored in Redis.

        Raises:
            UnusableModel: If a model cannot be loaded.
            Conflict: If Redis has a rollout that this replica does not know.
            RedisUnavailable: If Redis does not answer; not at the start.
            NotReady: If a model is not ready; not at the start.
        """
        async with AsyncExitStack() as cleanup:
            cleanup.callback(exclude_from_collection)
            cleanup.push_async_callback(self._retire_unused)
            deployment = await self._load(rollout)
            async with self._writes.paused():
                await self._absorb(deployment.models)
                if known_revision is not None and not await self._shared.store(rollout, known_revision):
                    raise Conflict("another replica has changed the models meanwhile: see GET /models, and try again")
                before, self.deployment = self.deployment, deployment
            await self._publish(deployment)
            if before is not None:
                await self._hand_over(before)

    async def _load(self, rollout: Rollout) -> Deployment:
        """Loads the models of a rollout that are not running yet, and brings their catalogues up to date."""
        is_start, models = self.deployment is None, list[ServedModel]()
        for version in rollout.versions:
            running = [model for model in self._running if model.version == version]
            models.append(running[0] if running else await self._open.open(version, defer_mapped=is_start))
            try:
                if (last := await self._shared.last_active()) is not None:
                    await models[-1].take_over(last)
            except RedisUnavailable:
                if not is_start:
                    raise
            await self._absorb(models[-1:])
            if not is_start:
                models[-1].check_ready()
        return Deployment(rollout, *models)

    async def _absorb(self, models: Iterable[ServedModel]) -> None:
        """Migrates all changes that the active model knows, whatever Redis holds, to models that get a role."""
        if self.deployment is not None:
            for model in models:
                await model.absorb(self.deployment.active)

    async def _publish(self, deployment: Deployment) -> None:
        """Shows the active model in the metrics, in the log and in Redis."""
        active = deployment.active
        self._metrics.describe_model(active.version, active.bundle.manifest.metrics.get("tokenizer", {}))
        logger.info("serving %s", deployment.rollout)
        if self._shared.is_known:
            await self._shared.note_active(active.version)

    async def _hand_over(self, before: Deployment) -> None:
        """Stops the models that have no role any more, and migrates changes that they got during the switch."""
        assert self.deployment is not None
        await self._retire_unused()
        with contextlib.suppress(RedisUnavailable):
            for model in self.deployment.models:
                await model.take_over(before.active.version)

    async def _retire_unused(self) -> None:
        """Stops models without a role."""
        await self._open.retire([model for model in self._open.models if model not in self._running])

    @property
    def _running(self) -> list[ServedModel]:
        return self.deployment.models if self.deployment is not None else []
