"""How to connect to Redis."""

from dataclasses import dataclass


@dataclass(frozen=True)
class RedisOptions:
    """How to connect to Redis.

    Attributes:
        url: One server, the Sentinels of a master, or a cluster; see `service.redis.url`.
        timeout_s: Longest wait for one answer, in seconds.
        retries: Retries of a failed call.
        max_connections: Most connections.
        pause_s: Pause after a failure, in which Redis is not called, in seconds.
    """

    url: str
    timeout_s: float
    retries: int
    max_connections: int
    pause_s: float
