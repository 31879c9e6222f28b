"""Changes which models answer: loads beside the running ones, checks, and switches between two requests."""

import asyncio
import contextlib
import gc
import logging
from collections.abc import Iterable
from contextlib import AsyncExitStack
from dataclasses import replace

from cachetools import TTLCache

from rqrec.models.bundle.bundle import Bundle, read_version
from rqrec.models.bundle.error import BundleError
from rqrec.models.bundle.manifest import Manifest, read_manifest
from rqrec.models.bundle.store import bundles_at_hand, current_version
from rqrec.service.errors import Conflict, NotReady, UnknownModel, UnusableModel
from rqrec.service.periodic import Periodic
from rqrec.service.redis.client import RedisGate, RedisUnavailable
from rqrec.service.serving.deployment import Deployment, Role, Rollout
from rqrec.service.serving.served_model import ServedModel
from rqrec.service.serving.shared_rollout import SharedRollout
from rqrec.service.settings import Settings
from rqrec.service.telemetry import Metrics

REFUSED_FOR_S = 60.0
logger = logging.getLogger("rqrec")


class ModelSwitch:
    """Holds the line-up, and follows the roles in Redis, so that what is told to one replica is done by all.

    Args:
        gate: Redis; None where none is used, and this replica is on its own.
        metrics: Told of the active model and of every loading.
        settings: Where the bundles are, and how to search.

    Attributes:
        deployment: Who answers; None until `start` and after `stop`. A request reads it once.
    """

    def __init__(self, gate: RedisGate | None, metrics: Metrics, settings: Settings) -> None:
        self.deployment: Deployment | None = None
        self._gate = gate
        self._metrics = metrics
        self._settings = settings
        self._open: dict[ServedModel, AsyncExitStack] = {}
        self._shared = SharedRollout(gate)
        self._switching = asyncio.Lock()
        self._following = Periodic(self._follow, settings.redis_check_s)
        self._refused: TTLCache[Rollout, None] = TTLCache(16, REFUSED_FOR_S)
        metrics.catalogue_current.set_function(
            lambda: self.deployment is not None and self.deployment.active.is_current
        )

    async def start(self) -> None:
        """Loads the models that the roles in Redis name, else the one that `current` names.

        Raises:
            BundleError: If that cannot be used.
        """
        rollout = None
        with contextlib.suppress(RedisUnavailable):
            rollout = await self._shared.read()
        if rollout is not None:
            try:
                await self._switch(rollout)
            except Exception as error:
                _log_refused("not serving by the roles in Redis", error)
        if self.deployment is None:
            await self._switch(Rollout(await asyncio.to_thread(current_version, self._settings.bundle)))
        if self._gate is not None:
            self._following.start()

    async def stop(self) -> None:
        """Ends everything; no model answers any more."""
        if self._gate is not None:
            await self._following.stop()
        async with self._switching:
            self.deployment = None
            await self._retire(list(self._open))

    def check_ready(self) -> None:
        """Checks that the models that answer are those that they should be, and know the catalogue as it is.

        Raises:
            NotReady: If not.
        """
        if not (self._shared.is_read or self._settings.ready_without_redis):
            raise NotReady("the models' roles are not known yet: Redis is away")
        for model in self._running:
            model.check_ready()

    async def at_hand(self) -> dict[str, Manifest | BundleError]:
        """What the bundles say of themselves, by version; an error where one cannot be read."""
        running = {model.version: model.bundle.manifest for model in self._running}
        return {**running, **await asyncio.to_thread(_manifests, self._settings)}

    async def assign(self, version: str, part: Role, percent: float) -> Rollout:
        """Gives a model a part, on this replica now and on the others soon; if that fails, all stays as it was.

        Returns:
            The roles from now on.

        Raises:
            UnknownModel: If there is no such bundle.
            UnusableModel: If it cannot be loaded, or does not give its known answers.
            Conflict: If another change is under way, here or on another replica.
            NotReady: If Redis is away, and the others would not hear of it.
        """
        if self._switching.locked():
            raise Conflict("another change of models is under way: wait for it")
        async with self._switching:
            if self.deployment is None:
                raise NotReady("the service is not ready, or shutting down")
            if version not in await self.at_hand():
                raise UnknownModel(f"there is no bundle {version!r}: GET /models lists those at hand")
            known = max(self._shared.known_revision, self.deployment.rollout.revision)
            rollout = replace(self.deployment.rollout, revision=known).with_role(version, part, percent)
            try:
                await self._switch(rollout, known)
            except RedisUnavailable as error:
                raise NotReady(f"Redis is away ({error}), and other replicas would not hear of it") from error
            return rollout

    async def _follow(self) -> None:
        with contextlib.suppress(RedisUnavailable):
            assert self._gate is not None
            await self._gate.check_eviction()
            stored = await self._shared.read()
            if self.deployment is None or self._switching.locked():
                return
            if await self._shared.last_active() is None:
                await self._shared.note_active(self.deployment.active.version)
            mine = self.deployment.rollout
            if mine.revision > (0 if stored is None else stored.revision):
                logger.warning("Redis lost the roles of the models: put back %s", mine)
                await self._shared.give(mine, mine.revision)
            elif (
                stored is not None
                and stored not in self._refused
                and (stored, stored.revision)
                != (
                    mine,
                    mine.revision,
                )
            ):
                await self._take_up(stored)

    async def _take_up(self, rollout: Rollout) -> None:
        """Switches to the roles in Redis, if that can be done here."""
        async with self._switching:
            try:
                await self._switch(rollout)
            except (RedisUnavailable, NotReady):
                return  # at the next check
            except Exception as error:
                self._refused[rollout] = None
                _log_refused("the roles in Redis cannot be taken up here", error)

    async def _switch(self, rollout: Rollout, known_revision: int | None = None) -> None:
        """Loads the models of these rollout and lets them answer; if anything fails, all stays as it was.

        Args:
            rollout: The rollout.
            known_revision: Where they are new: of the roles that they follow on, for the other replicas to hear of.

        Raises:
            UnusableModel: If a model cannot be loaded.
            Conflict: If the other replicas have other rollout already.
            RedisUnavailable: If Redis is, and this is not the start.
            NotReady: If the catalogue is not known, and this is not the start.
        """
        async with AsyncExitStack() as undo:
            undo.push_async_callback(self._tidy_up)
            deployment = await self._load(rollout)
            if known_revision is not None and not await self._shared.give(rollout, known_revision):
                raise Conflict("another replica has changed the models meanwhile: see GET /models, and try again")
            before, self.deployment = self.deployment, deployment
            await self._note(deployment)
            if before is not None:
                await self._hand_over(before)

    async def _load(self, rollout: Rollout) -> Deployment:
        """The models in these roles; those that answer already stay as they are."""
        is_start, models = self.deployment is None, list[ServedModel]()
        for version in rollout.versions:
            running = [model for model in self._running if model.version == version]
            models.append(running[0] if running else await self._open_model(version))
            try:
                if (last := await self._shared.last_active()) is not None:
                    await models[-1].take_over(last)
            except RedisUnavailable:
                if not is_start:
                    raise
            if not is_start:
                await models[-1].until_ready()
        return Deployment(rollout, *models)

    async def _open_model(self, version: str) -> ServedModel:
        async with AsyncExitStack() as stack:
            try:
                bundle = await asyncio.to_thread(_read, version, self._settings)
                opened = ServedModel.open(bundle, self._gate, self._metrics, self._settings)
                model = await stack.enter_async_context(opened)
            except Exception as error:
                self._metrics.model_loads.labels("failed").inc()
                if isinstance(error, BundleError):
                    raise UnusableModel(str(error)) from error
                logger.exception("model %s cannot be loaded", version)
                raise UnusableModel(f"it cannot be loaded: {type(error).__name__}: {error}") from error
            self._open[model] = stack.pop_all()
        self._metrics.model_loads.labels("loaded").inc()
        return model

    async def _note(self, deployment: Deployment) -> None:
        active = deployment.active
        self._metrics.describe_model(active.version, active.bundle.manifest.metrics.get("tokenizer", {}))
        logger.info("serving %s", deployment.rollout)
        await self._shared.note_active(active.version)

    async def _hand_over(self, before: Deployment) -> None:
        """Stops those that answer no more; what was written for them meanwhile is carried over."""
        assert self.deployment is not None
        await self._retire_unused()
        with contextlib.suppress(RedisUnavailable):
            for model in self.deployment.models:
                await model.take_over(before.active.version)

    async def _tidy_up(self) -> None:
        await self._retire_unused()
        # What is loaded stays: without this a full collection walks through it all and stops every request for 60 ms.
        gc.unfreeze()
        gc.collect()
        gc.freeze()

    async def _retire_unused(self) -> None:
        await self._retire([model for model in self._open if model not in self._running])

    async def _retire(self, models: Iterable[ServedModel]) -> None:
        """Stops models; what they were asked before they still answer."""
        for model in models:
            await self._open.pop(model).aclose()

    @property
    def _running(self) -> list[ServedModel]:
        return self.deployment.models if self.deployment is not None else []


def _log_refused(what: str, error: Exception) -> None:
    logger.error("%s: %s", what, error)


def _read(version: str, settings: Settings) -> Bundle:
    return read_version(settings.bundle, version)


def _manifests(settings: Settings) -> dict[str, Manifest | BundleError]:
    found: dict[str, Manifest | BundleError] = {}
    for version, folder in bundles_at_hand(settings.bundle).items():
        try:
            found[version] = read_manifest(folder)
        except BundleError as error:
            found[version] = error
        except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            found[version] = BundleError(f"its manifest cannot be read ({type(error).__name__}: {error})")
    return found
