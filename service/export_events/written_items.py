"""Reads the items that clients have written and not deleted, from the change log of the active model in Redis."""

import asyncio
from typing import NamedTuple

from rqrec.service.catalogue.changes import Delete, Put, from_json
from rqrec.service.redis.client import RedisGate, RedisUnavailable
from rqrec.service.replication.change_log import ChangeLog
from rqrec.service.replication.log_view import LogContents, LogView
from rqrec.service.replication.positions import START, is_before
from rqrec.service.replication.reconcile import UNUSABLE
from rqrec.service.replication.stamps import Stamps
from rqrec.service.serving.shared_rollout import SharedRollout

TRIES, PAUSE_S = 5, 1.0  # of reading the log, which a running service may be saving or repairing


class ItemsUnavailable(Exception):
    """Raised when the written items cannot be read from Redis now."""


class LogState(NamedTuple):
    """Tells whether a change log has changed: two equal states have the same written items.

    Attributes:
        version: The model version.
        tag: Checksum of the log's header; see `LogView.tag`.
        last: Position of the last event in the log's stream.
    """

    version: str
    tag: str
    last: str


async def read_written_items(gate: RedisGate, known: LogState | None) -> tuple[LogState, list[Put]] | None:
    """Reads the items that were written for the active model, without deleted items.

    Items with the same codes come in the order of their collision codes, and items of the last changes come last. So
    whoever gives out collision codes in this order gives those of the service, unless items were deleted before.

    Args:
        gate: The client of Redis.
        known: The state of the log at the last call; None for the first call.

    Returns:
        The state of the log and the last `Put` of each item; None if the log still has the state `known`.

    Raises:
        ItemsUnavailable: If Redis does not answer or names no active model, or if the change log stays damaged.
    """
    try:
        version = await _active_version(gate)
        log = ChangeLog(gate, version)
        for _ in range(TRIES):
            view = await log.look(START)
            state = LogState(version, view.tag, view.last)
            if state == known:
                return None
            contents = await log.read(view) if view.is_whole else None
            if contents is not None and (items := await asyncio.to_thread(_items, view, contents)) is not None:
                return state, items
            await asyncio.sleep(PAUSE_S)
    except RedisUnavailable as error:
        raise ItemsUnavailable(f"the written items cannot be read from Redis ({error})") from error
    raise ItemsUnavailable(
        f"the written items cannot be read, because the change log of the model {version} in Redis is damaged: start "
        "the service, which repairs it"
    )


async def _active_version(gate: RedisGate) -> str:
    rollout = SharedRollout(gate, empty_for_s=0)
    version = await rollout.active_version() or await rollout.last_active()
    if version is None:
        raise ItemsUnavailable(
            "the written items cannot be read, because Redis does not say which model is active: start the service"
        )
    return version


def _items(view: LogView, contents: LogContents) -> list[Put] | None:
    """Returns the written items after all changes of the log; None if the log is damaged."""
    stamps = contents.stamps()
    if not contents.is_undamaged(view, stamps):
        return None
    entries = [stamped.entry for stamped in contents.entries.values() if stamped.entry is not None]
    entries.sort(key=lambda entry: entry.semantic_id)
    items = {entry.put.item_id: entry.put for entry in entries}
    _apply(contents, stamps, items)
    return list(items.values())


def _apply(contents: LogContents, stamps: Stamps, items: dict[str, Put]) -> None:
    """Applies the events after the entries to the items, by the rules of `Replay` and `CollisionAllocator`."""
    for event in contents.events:
        try:
            change = from_json(event.change)
        except UNUSABLE:  # the replicas skip it too, and log it
            continue
        item_id = change.item_id
        if not is_before(stamps.stamp(item_id), event.stamp):
            continue
        if isinstance(change, Put):
            if item_id in items and items[item_id].codes != change.codes:
                del items[item_id]  # its new semantic ID is the last that was given
            items[item_id] = change
            stamps.note(item_id, event.stamp)
        elif isinstance(change, Delete) and items.pop(item_id, None) is not None:
            stamps.note(item_id, event.stamp)
        elif item_id not in items:
            stamps.drop(item_id)
