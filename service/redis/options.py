"""The options of the connections to Redis."""

from dataclasses import dataclass


@dataclass(frozen=True)
class RedisOptions:
    """The options of the connections to Redis.

    Attributes:
        url: URL of one server, of the Sentinels of a master, or of a cluster; see `service.redis.url`.
        timeout_s: Longest wait for a connection and for an answer, in seconds.
        retries: How often a failed call is repeated.
        max_connections: Largest number of connections.
        pause_s: Pause after a failure, in seconds, during which Redis is not called.
    """

    url: str
    timeout_s: float
    retries: int
    max_connections: int
    pause_s: float
