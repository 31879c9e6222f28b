"""Reads and writes the rollout in Redis. The rollout says which model has which role; all replicas follow it."""

import asyncio
import contextlib
import logging
import time
from typing import cast

from rqrec.service.redis.client import KEY_PREFIX, RedisGate, RedisRefused, RedisUnavailable
from rqrec.service.redis.scripts import GIVE_ROLES, run
from rqrec.service.serving.deployment import Rollout

EMPTY_POLL_S = 0.1  # pause between two looks at an empty Redis
ROLES_KEY, LAST_ACTIVE_KEY = f"{KEY_PREFIX}:roles", f"{KEY_PREFIX}:last-active"
logger = logging.getLogger("rqrec")


class SharedRollout:
    """Reads and writes the rollout in Redis: which model version is active, and which is the canary or shadow.

    If the key of the rollout in Redis holds a value that is no rollout, the rollout counts as missing.

    Args:
        gate: The client of Redis; None if no Redis is used, so that there is no shared rollout.
        empty_for_s: How long the rollout must be missing, in seconds, before this class decides that there is none.
            Until then Redis may have lost the rollout, and another replica may store it again.

    Attributes:
        is_known: Whether a rollout was read, or it is decided that there is none; always True without Redis.
    """

    def __init__(self, gate: RedisGate | None, *, empty_for_s: float) -> None:
        self._latest: Rollout | None = None  # of those that were read
        self.is_known = gate is None
        self._empty_for_s = empty_for_s
        self._empty_since: float | None = None  # monotonic seconds
        self._gate = gate

    async def read(self) -> Rollout | None:
        """Reads the rollout (which model has which role) from Redis. Returns None if Redis has none.

        Raises:
            RedisUnavailable: If Redis does not answer.
        """
        rollout = await self._rollout()
        if rollout is None and not self.is_known:
            rollout = await self._read_of_empty()
        self.is_known |= rollout is not None
        if rollout is not None:
            self._latest = self.latest(rollout)
        return rollout

    def latest(self, other: Rollout) -> Rollout:
        """Returns the latest rollout that was read from Redis, or another one if its revision is as high."""
        return other if self._latest is None or other.revision >= self._latest.revision else self._latest

    async def read_at_start(self) -> Rollout | None:
        """Reads the rollout, and waits for it while Redis is empty. Returns None if Redis does not answer."""
        with contextlib.suppress(RedisUnavailable):
            while (rollout := await self.read()) is None and not self.is_known:
                await asyncio.sleep(EMPTY_POLL_S)
            return rollout
        return None

    async def active_version(self) -> str | None:
        """Reads from Redis the version of the active model, which answers the requests. Returns None if Redis has none.

        Raises:
            RedisUnavailable: If Redis does not answer.
        """
        rollout = await self._rollout()
        return None if rollout is None else rollout.active

    async def store(self, rollout: Rollout, known_revision: int) -> bool:
        """Stores a rollout (which model has which role) in Redis, unless Redis has a newer one than the caller knows.

        Args:
            rollout: The new rollout.
            known_revision: Revision of the latest rollout that the caller knows.

        Returns:
            False if Redis has a higher revision than `known_revision`; then nothing is stored. True without Redis.

        Raises:
            RedisUnavailable: If Redis does not answer.
        """
        if self._gate is None:
            return True
        return bool(await run(self._gate, GIVE_ROLES, [ROLES_KEY], rollout.to_json(), known_revision))

    async def last_active(self) -> str | None:
        """Reads which model version was active last on any replica. A model that gets a role copies its written items.

        Returns None if Redis does not hold this version.

        Raises:
            RedisUnavailable: If Redis does not answer.
        """
        return await self._read(LAST_ACTIVE_KEY)

    async def note_active(self, version: str) -> None:
        """Stores in Redis which model is active; `SharedRollout.last_active` reads it. Ignores failures of Redis."""
        with contextlib.suppress(RedisUnavailable):
            if self._gate is not None:
                await self._gate.call(self._gate.client.set, LAST_ACTIVE_KEY, version)

    async def _read_of_empty(self) -> Rollout | None:
        """The rollout, if another replica has put it back; notes for how long Redis has been empty."""
        if await self.last_active() is not None:  # a replica stores it after the rollout
            self.is_known = True
            return await self._rollout()
        if self._empty_since is None:
            self._empty_since = time.monotonic()
            logger.info("Redis is empty: waiting %.1f s for other replicas to put back what it lost", self._empty_for_s)
        self.is_known = time.monotonic() >= self._empty_since + self._empty_for_s
        return None

    async def _rollout(self) -> Rollout | None:
        text = await self._read(ROLES_KEY)
        try:
            return None if text is None else Rollout.from_json(text)
        except ValueError as error:
            logger.error("%s in Redis: %s", ROLES_KEY, error)  # noqa: TRY400 - a traceback would add nothing
            return None

    async def _read(self, key: str) -> str | None:
        if self._gate is None:
            return None
        try:
            return cast("str | None", await self._gate.call(self._gate.client.get, key))
        except RedisRefused:
            return None
