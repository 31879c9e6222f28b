"""Changes which models answer: loads beside the running ones, checks, and switches between two requests."""

import asyncio
import contextlib
import gc
import logging
from collections.abc import Iterable
from typing import cast

from cachetools import TTLCache

from models.bundle import Bundle, BundleError, Manifest, bundles_at_hand, current_version, read_manifest, read_version
from service.errors import Conflict, NotReady, UnknownModel, UnusableModel
from service.line_up import LineUp, Part, Roles
from service.periodic import Periodic
from service.redis_client import RedisAway, RedisGate
from service.served_model import ServedModel
from service.settings import Settings
from service.shared_table import KEY_PREFIX
from service.telemetry import Metrics

ROLES_KEY, LAST_ACTIVE_KEY = f"{KEY_PREFIX}:roles", f"{KEY_PREFIX}:last-active"
REFUSED_FOR_S = 60.0
logger = logging.getLogger("rqrec")


class ModelSwitch:
    """Holds the line-up, and follows the roles in Redis, so that what is told to one replica is done by all.

    Args:
        gate: Redis; None where none is used, and this replica is on its own.
        metrics: Told of the active model and of every loading.
        settings: Where the bundles are, and how to search.

    Attributes:
        line_up: Who answers; None until `start` and after `stop`. A request reads it once.
    """

    def __init__(self, gate: RedisGate | None, metrics: Metrics, settings: Settings) -> None:
        self.line_up: LineUp | None = None
        self._gate = gate
        self._metrics = metrics
        self._settings = settings
        self._switching = asyncio.Lock()
        self._following = Periodic(self._follow, settings.redis_check_s)
        self._refused: TTLCache[Roles, None] = TTLCache(16, REFUSED_FOR_S)

    async def start(self) -> None:
        """Loads the models that the roles in Redis name, else the one that `current` names.

        Raises:
            BundleError: If that cannot be used.
        """
        roles = await self._stored()
        if roles is not None:
            try:
                await self._switch(roles)
            except BundleError as error:
                logger.error("not serving by the roles in Redis: %s", error)  # noqa: TRY400 - the message says it all
        if self.line_up is None:
            await self._switch(Roles(await asyncio.to_thread(current_version, self._settings.bundle)))
        if self._gate is not None:
            self._following.start()

    async def stop(self) -> None:
        """Ends everything; no model answers any more."""
        if self._gate is not None:
            await self._following.stop()
        async with self._switching:
            line_up, self.line_up = self.line_up, None
            for model in line_up.models if line_up is not None else []:
                await model.stop()

    async def at_hand(self) -> dict[str, Manifest | BundleError]:
        """What the bundles say of themselves, by version; an error where one cannot be read."""
        return await asyncio.to_thread(_manifests, self._settings)

    async def assign(self, version: str, part: Part, percent: float) -> Roles:
        """Gives a model a part, on this replica now and on the others soon; if that fails, all stays as it was.

        Returns:
            The roles from now on.

        Raises:
            UnknownModel: If there is no such bundle.
            UnusableModel: If it cannot be loaded, or does not give its known answers.
            Conflict: If another change is under way.
            NotReady: If Redis is away, and the others would not hear of it.
        """
        if self._switching.locked():
            raise Conflict("another change of models is under way: wait for it")
        async with self._switching:
            if self.line_up is None:
                raise NotReady("the service is not ready, or shutting down")
            if version not in await asyncio.to_thread(bundles_at_hand, self._settings.bundle):
                raise UnknownModel(f"there is no bundle {version!r}: GET /models lists those at hand")
            roles = self.line_up.roles.with_part(version, part, percent)
            try:
                loaded = await self._load(roles)
            except BundleError as error:
                raise UnusableModel(str(error)) from error
            try:
                await self._store(roles)
            except RedisAway as error:
                await self._retire(loaded.models)
                raise NotReady(f"Redis is away ({error}), and other replicas would not hear of it") from error
            await self._take_up(loaded)
            return roles

    async def _follow(self) -> None:
        roles = await self._stored()
        if roles is None or self.line_up is None or roles == self.line_up.roles or roles in self._refused:
            return
        async with self._switching:
            try:
                await self._switch(roles)
            except BundleError as error:
                self._refused[roles] = None
                logger.error("the roles in Redis cannot be taken up here: %s", error)  # noqa: TRY400 - says it all

    async def _switch(self, roles: Roles) -> None:
        await self._take_up(await self._load(roles))

    async def _load(self, roles: Roles) -> LineUp:
        """The models in these roles; those that answer already stay as they are."""
        models: list[ServedModel] = []
        try:
            for version in roles.versions:
                running = [model for model in self._running if model.version == version]
                models.append(running[0] if running else await self._start_model(version))
                await models[-1].take_over(await self._read_key(LAST_ACTIVE_KEY))
        except BaseException:
            await self._retire(models)
            raise
        return LineUp(roles, *models)

    async def _start_model(self, version: str) -> ServedModel:
        try:
            bundle = await asyncio.to_thread(_read, version, self._settings)
            model = await ServedModel.load(bundle, self._gate, self._metrics, self._settings)
            await model.start()
        except BaseException:
            self._metrics.model_loads.labels("failed").inc()
            raise
        self._metrics.model_loads.labels("loaded").inc()
        return model

    async def _take_up(self, line_up: LineUp) -> None:
        before, self.line_up = self.line_up, line_up
        active = line_up.active
        self._metrics.describe_model(active.version, active.bundle.manifest.metrics.get("tokenizer", {}))
        logger.info("serving %s", line_up.roles)
        if self._gate is not None:
            with contextlib.suppress(RedisAway):
                await self._gate.call(self._gate.client.set, LAST_ACTIVE_KEY, active.version)
        if before is not None:
            await self._retire(before.models)
            for model in line_up.models:  # what was written while they were loaded
                await model.take_over(before.active.version)
        # What is loaded stays: without this a full collection walks through it all and stops every request for 60 ms.
        gc.unfreeze()
        gc.collect()
        gc.freeze()

    async def _retire(self, models: Iterable[ServedModel]) -> None:
        """Stops those of the models that are not in the line-up; what they were asked before they still answer."""
        for model in models:
            if model not in self._running:
                await model.stop()

    @property
    def _running(self) -> list[ServedModel]:
        return self.line_up.models if self.line_up is not None else []

    async def _stored(self) -> Roles | None:
        """The roles in Redis; None where there are none to be had."""
        text = await self._read_key(ROLES_KEY)
        try:
            return None if text is None else Roles.from_json(text)
        except ValueError as error:
            logger.error("%s in Redis: %s", ROLES_KEY, error)  # noqa: TRY400 - the message says it all
            return None

    async def _store(self, roles: Roles) -> None:
        if self._gate is not None:
            await self._gate.call(self._gate.client.set, ROLES_KEY, roles.to_json())

    async def _read_key(self, key: str) -> str | None:
        """What Redis holds; None where that is nothing, and where there is no Redis to be asked."""
        with contextlib.suppress(RedisAway):
            if self._gate is not None:
                return cast("str | None", await self._gate.call(self._gate.client.get, key))
        return None


def _read(version: str, settings: Settings) -> Bundle:
    return read_version(settings.bundle, version)


def _manifests(settings: Settings) -> dict[str, Manifest | BundleError]:
    found: dict[str, Manifest | BundleError] = {}
    for version, folder in bundles_at_hand(settings.bundle).items():
        try:
            found[version] = read_manifest(folder)
        except BundleError as error:
            found[version] = error
    return found
