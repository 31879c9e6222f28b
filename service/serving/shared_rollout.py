"""The models' roles in Redis, which all replicas follow."""

import contextlib
import logging
from typing import cast

from rqrec.service.redis.client import KEY_PREFIX, RedisGate, RedisRefused, RedisUnavailable
from rqrec.service.redis.scripts import GIVE_ROLES, run
from rqrec.service.serving.deployment import Rollout

ROLES_KEY, LAST_ACTIVE_KEY = f"{KEY_PREFIX}:roles", f"{KEY_PREFIX}:last-active"
logger = logging.getLogger("rqrec")


class SharedRollout:
    """Reads and gives the roles; what stands in their place and is none counts as nothing.

    Args:
        gate: Redis; None where none is used, and there are no such rollout.

    Attributes:
        known_revision: The highest that was read.
        is_read: Whether they were ever read.
    """

    def __init__(self, gate: RedisGate | None) -> None:
        self.known_revision = 0
        self.is_read = gate is None
        self._gate = gate

    async def read(self) -> Rollout | None:
        """The roles; None where there are none.

        Raises:
            RedisUnavailable: If Redis is.
        """
        text = await self._read(ROLES_KEY)
        self.is_read = True
        try:
            rollout = None if text is None else Rollout.from_json(text)
        except ValueError as error:
            logger.error("%s in Redis: %s", ROLES_KEY, error)  # noqa: TRY400 - the message says it all
            return None
        self.known_revision = max(self.known_revision, 0 if rollout is None else rollout.revision)
        return rollout

    async def give(self, rollout: Rollout, known_revision: int) -> bool:
        """Stores roles; returns False if there are others that the caller does not know.

        Args:
            rollout: The rollout.
            known_revision: Of the last ones that the caller knows.

        Raises:
            RedisUnavailable: If Redis is.
        """
        if self._gate is None:
            return True
        return bool(await run(self._gate, GIVE_ROLES, [ROLES_KEY], rollout.to_json(), known_revision))

    async def last_active(self) -> str | None:
        """The version of the model that was active last, on any replica; None if that is not known.

        Raises:
            RedisUnavailable: If Redis is.
        """
        return await self._read(LAST_ACTIVE_KEY)

    async def note_active(self, version: str) -> None:
        """Stores the version of the active model, if Redis is there."""
        with contextlib.suppress(RedisUnavailable):
            if self._gate is not None:
                await self._gate.call(self._gate.client.set, LAST_ACTIVE_KEY, version)

    async def _read(self, key: str) -> str | None:
        if self._gate is None:
            return None
        try:
            return cast("str | None", await self._gate.call(self._gate.client.get, key))
        except RedisRefused:
            return None
