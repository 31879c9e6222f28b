"""A lock in Redis for work that one replica does for all."""

import contextlib
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from rqrec.service.redis.client import RedisGate, RedisUnavailable
from rqrec.service.redis.scripts import KEEP_LOCK, LOCK, UNLOCK, run


class Lock:
    """Held by at most one replica; it ends by itself soon after its holder.

    Args:
        gate: Redis.
        key: The lock's key.
        lives_s: Seconds after which it ends unless `keep` is called.
    """

    def __init__(self, gate: RedisGate, key: str, lives_s: float) -> None:
        self.key = key
        self.lives_ms = round(1000 * lives_s)
        self.token = uuid.uuid4().hex
        self._gate = gate

    @asynccontextmanager
    async def held(self) -> AsyncIterator[bool]:
        """Holds the lock inside the block; yields False where another replica has it.

        Raises:
            RedisUnavailable: If Redis is.
        """
        is_held = bool(await run(self._gate, LOCK, [self.key], self.token, self.lives_ms))
        try:
            yield is_held
        finally:
            if is_held:
                with contextlib.suppress(RedisUnavailable):  # it ends by itself
                    await run(self._gate, UNLOCK, [self.key], self.token)

    async def keep(self) -> bool:
        """Puts off the end; returns False where the lock was lost.

        Raises:
            RedisUnavailable: If Redis is.
        """
        return bool(await run(self._gate, KEEP_LOCK, [self.key], self.token, self.lives_ms))
