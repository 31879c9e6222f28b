"""A lock in Redis, for work that only one replica may do at a time."""

import contextlib
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from rqrec.service.redis.client import RedisGate, RedisUnavailable
from rqrec.service.redis.scripts import LOCK_HOLDER, run

# Our locks always expire. A key without expiry was written by other software, so it is overwritten.
# KEYS: the lock. ARGV: the token, the time to live in milliseconds.
LOCK = """
if redis.call('PTTL', KEYS[1]) >= 0 then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
"""

# KEYS: the lock. ARGV: the token, the time to live in milliseconds.
KEEP_LOCK = f"""{LOCK_HOLDER}
if not is_mine(KEYS[1], ARGV[1]) then return 0 end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
"""

# KEYS: the lock. ARGV: the token.
UNLOCK = f"""{LOCK_HOLDER}
if is_mine(KEYS[1], ARGV[1]) then redis.call('DEL', KEYS[1]) end
return 1
"""


class Lock:
    """A lock in Redis that at most one replica holds at a time. The lock expires if its holder does not renew it.

    Args:
        gate: The client of Redis.
        key: The Redis key of the lock.
        lives_s: Time to live of the lock, in seconds; `Lock.keep` starts it again.

    Attributes:
        key: The Redis key of the lock.
        lives_ms: Time to live of the lock, in milliseconds.
        token: The value that the key has while this object holds the lock.
    """

    def __init__(self, gate: RedisGate, key: str, lives_s: float) -> None:
        self.key = key
        self.lives_ms = round(1000 * lives_s)
        self.token = uuid.uuid4().hex
        self._gate = gate

    @asynccontextmanager
    async def held(self) -> AsyncIterator[bool]:
        """Context manager: tries to take the lock, without waiting, and yields whether this succeeded.

        The end of the block releases the lock.

        Raises:
            RedisUnavailable: If Redis does not answer.
        """
        is_held = bool(await run(self._gate, LOCK, [self.key], self.token, self.lives_ms))
        try:
            yield is_held
        finally:
            if is_held:
                with contextlib.suppress(RedisUnavailable):  # the lock expires anyway
                    await run(self._gate, UNLOCK, [self.key], self.token)

    async def keep(self) -> bool:
        """Starts the time to live of the lock again. Returns False if this object no longer holds the lock.

        Raises:
            RedisUnavailable: If Redis does not answer.
        """
        return bool(await run(self._gate, KEEP_LOCK, [self.key], self.token, self.lives_ms))
