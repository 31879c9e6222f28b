"""Removes old tombstones. A tombstone is the record of the deletion of an item that was not in the published model.

Without the tombstone, a replica that has missed the deletion, or the change log of another model, could bring the item
back. So a tombstone is removed only if no other change log in Redis contains the item, and if every replica has had the
time to read the deletion. If a replica was without Redis for longer than this time, and events that it has not read are
gone, it drops all written items that it knows and loads those in Redis. The removal is a change in the stream, so all
replicas remove the same tombstones.
"""

import asyncio
import time
from collections.abc import Sequence

from rqrec.service.catalogue.changes import BadChange, Forget, Put, from_json
from rqrec.service.redis.client import KEY_PREFIX, RedisGate
from rqrec.service.redis.lock import Lock
from rqrec.service.replication.change_log import ChangeLog
from rqrec.service.replication.live_catalogue import LiveCatalogue
from rqrec.service.replication.log_view import Event
from rqrec.service.replication.positions import START, is_before

AT_ONCE = 200  # items in one call of Redis
LOCK_LIVES_S = 30.0
LOGS = f"{KEY_PREFIX}:{{*}}:log"  # the headers of all change logs


class Tombstones:
    """Removes the old tombstones from the change log of one model.

    A tombstone is the record of the deletion of an item that was not in the published model.

    Args:
        gate: The client of Redis.
        log: The change log of the model.
        live: The catalogue that follows this change log.
        live_s: Age from which on a tombstone may be removed, in seconds.
        at_least: Nothing is removed while fewer tombstones than this number have that age.
    """

    def __init__(self, gate: RedisGate, log: ChangeLog, live: LiveCatalogue, *, live_s: float, at_least: int) -> None:
        self._gate = gate
        self._log = log
        self._live = live
        self._live_s = live_s
        self._at_least = at_least
        self._lock = Lock(gate, f"{KEY_PREFIX}:{{{log.version}}}:forgetting", LOCK_LIVES_S)

    async def forget(self) -> None:
        """Removes old tombstones (records of deletions) from the change log, if there are at least `at_least`.

        Does nothing if another replica is removing them now. Also does nothing while another model's change log is
        damaged: it may contain a deleted item that cannot be read now, and the item would come back.

        Raises:
            RedisUnavailable: If Redis does not answer.
        """
        if len(await self._old()) < self._at_least:
            return
        async with self._lock.held() as is_held:
            if not is_held:
                return
            await self._live.catch_up()
            old = await self._old()
            for version in await self._other_versions():
                held = await _held(ChangeLog(self._gate, version), old)
                if held is None:  # what a damaged log holds is known when it is repaired
                    return
                old = [item_id for item_id in old if item_id not in held]
            for begin in range(0, len(old), AT_ONCE):
                nothing = Event("", "")
                await self._log.append_all([(Forget(item_id), nothing) for item_id in old[begin : begin + AT_ONCE]])

    async def _old(self) -> list[str]:
        before = f"{round(1000 * (time.time() - self._live_s))}-0"
        return await asyncio.to_thread(self._live.tombstones, before)

    async def _other_versions(self) -> list[str]:
        """The model versions that have a change log in Redis, without this one."""

        async def names() -> list[str]:
            return [name async for name in self._gate.client.scan_iter(match=LOGS, count=1000)]

        begin, end = LOGS.split("*")
        versions = {name.removeprefix(begin).removesuffix(end) for name in await self._gate.call(names)}
        return sorted(versions - {self._log.version})


async def _held(log: ChangeLog, item_ids: Sequence[str]) -> set[str] | None:
    """The items among those given that a change log holds; None if the log is damaged."""
    view, held, stamps = await log.look(START), set[str](), dict[str, str]()
    if not (view.is_whole or view.is_empty):
        return None
    for begin in range(0, len(item_ids), AT_ONCE):
        for item_id, stamped in (await log.entries_of(item_ids[begin : begin + AT_ONCE])).items():
            stamps[item_id] = "" if stamped is None else stamped.stamp
            if stamped is None or stamped.entry is not None:
                held.add(item_id)
    wanted = set(item_ids)
    while view.events:
        for event in view.events:
            try:
                change = from_json(event.change)
            except BadChange:
                continue
            if change.item_id in wanted and is_before(stamps.get(change.item_id, ""), event.stamp):
                stamps[change.item_id] = event.stamp
                (held.add if isinstance(change, Put) else held.discard)(change.item_id)
        view = await log.look(view.events[-1].position)
    return held
