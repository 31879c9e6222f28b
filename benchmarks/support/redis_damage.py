"""Damages the keys of the service in Redis: deletes them, or puts foreign content into them."""

import random
from typing import Any

from redis import Redis

KEYS = ("changes", "entries", "log", "items", "semantic-ids", "whole", "carried")
POISON: tuple[dict[Any, Any], ...] = ({"change": "{"}, {"other": "fields"}, {"change": b"\xff", "prev": "nonsense"})


def damage_key(client: Redis, key: str, kind: int, rng: random.Random) -> list[str]:
    """Damages one key.

    Args:
        client: A client of the Redis server.
        key: The key.
        kind: 0 adds an invalid event to a stream, 1 puts a text in the key's place, 2 deletes the key.
        rng: Source of random choices.

    Returns:
        Names of the faults, for counting.
    """
    if kind == 0 and key.endswith(":changes"):
        client.xadd(key, rng.choice(POISON))
        return ["poison events"]
    client.delete(key)
    if kind == 1:
        client.set(key, "a text")
        return ["lost keys", "keys of a wrong type"]
    return ["lost keys"]
