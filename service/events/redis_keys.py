"""The keys of the event store in Redis.

A Redis cluster runs a script only on keys of one slot, so all keys of a user lie in one slot. The users are divided
into NUM_SHARDS shards; the keys of a shard have `{events:<shard>}` in their names, which puts them into one slot.

- `stream`, a stream for each shard: its events, each with the fields `user` and `event`, and without `event` a user who
  was forgotten.
- `history:<user>`, a list: the entries of the user's history as JSON, in the order of their times.
- `shown:<user>`, a sorted set: the user's impressions as JSON, by their times.
- `id:<hash>`: exists if an event with this user and id was stored.
- `impression:<recommendation>`: an impression as JSON, after a head that says where it counts and which outcomes are
  counted; see `service.redis.outcome_scripts`. Its shard follows from the recommendation, not from the user.
- `early:<recommendation>`, a set: letters of outcomes whose events came before the impression, with marks of users.
- `counts:<trial>`, a hash: the counts of a trial, in each shard those of its impressions. Without a cluster, all are in
  the first shard.

- `store`, a text in the first shard: the random id of the store.

All keys but the streams and the id expire.
"""

import re
from zlib import crc32

from rqrec.service.events.store import START, foreign_position
from rqrec.service.redis.client import KEY_PREFIX

NUM_SHARDS = 16  # never changes: the keys of most users would change
FIRST = "0-0"  # the position before every record of one shard
POSITION_IN_SHARD = re.compile(r"\d{1,15}-\d{1,8}", re.ASCII)


def shard_of(name: str) -> int:
    """Returns the shard of a user, or of a recommendation, from its id."""
    return crc32(name.encode()) % NUM_SHARDS


def store_key() -> str:
    """Returns the key of the store's id."""
    return _key(0, "store")


def stream_key(shard: int) -> str:
    """Returns the key of the stream of a shard."""
    return _key(shard, "stream")


def history_key(user_id: str) -> str:
    """Returns the key of a user's history."""
    return _key(shard_of(user_id), f"history:{user_id}")


def shown_key(user_id: str) -> str:
    """Returns the key of a user's impressions."""
    return _key(shard_of(user_id), f"shown:{user_id}")


def mark_key(user_id: str, id_hash: bytes) -> str:
    """Returns the key that exists if an event was stored.

    Args:
        user_id: The user of the event.
        id_hash: What `hash_event_id` returns for the event.
    """
    return _key(shard_of(user_id), f"id:{id_hash.hex()}")


def impression_key(recommendation_id: str) -> str:
    """Returns the key of an impression."""
    return _key(shard_of(recommendation_id), f"impression:{recommendation_id}")


def impression_and_early_keys(recommendation_id: str) -> tuple[str, str]:
    """Returns the key of an impression, and that of the outcomes that came before it."""
    shard = shard_of(recommendation_id)
    return _key(shard, f"impression:{recommendation_id}"), _key(shard, f"early:{recommendation_id}")


def counts_key(shard: int, trial: int) -> str:
    """Returns the key of the counts of a trial.

    Args:
        shard: The shard of the impressions that are counted there.
        trial: The trial.
    """
    return _key(shard, f"counts:{trial}")


def split_position(position: str) -> list[str]:
    """Returns the position in the stream of each shard, from a position in all streams.

    Args:
        position: What `join_positions` has returned, or START.

    Raises:
        ValueError: If the text is no such position.
    """
    if position == START:
        return [FIRST] * NUM_SHARDS
    positions = position.split(",")
    if len(positions) != NUM_SHARDS or not all(map(POSITION_IN_SHARD.fullmatch, positions)):
        raise foreign_position(position)
    return positions


def check_position(position: str) -> str:
    """Returns a position in the stream of one shard.

    Args:
        position: What Redis has returned as the position of a record, or START.

    Raises:
        ValueError: If the text is no such position.
    """
    if position == START:
        return FIRST
    if not POSITION_IN_SHARD.fullmatch(position):
        raise foreign_position(position)
    return position


def join_positions(positions: list[str]) -> str:
    """Returns a position in all streams, from the position in the stream of each shard."""
    return ",".join(positions)


def _key(shard: int, name: str) -> str:
    return f"{KEY_PREFIX}:{{events:{shard:02}}}:{name}"
