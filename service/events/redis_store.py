"""The event store in Redis, for any number of replicas.

An event is as durable as Redis makes a write: with `appendonly yes` and `appendfsync always` it is on the disk before
the answer; with `appendfsync everysec` a crash of the machine loses the last second.
"""

import asyncio
import random
import secrets
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any, TypeVar

from redis.asyncio import RedisCluster
from typing_extensions import override

from rqrec.service.errors import StoreRefused, StoreUnavailable
from rqrec.service.events.event import Event, HistoryEntry, Impression, Record, RecordPage, UserPage
from rqrec.service.events.packing import (
    hash_event_id,
    pack_entry,
    pack_event,
    pack_impression,
    unpack_entries,
    unpack_event,
    unpack_impression,
    unpack_record,
)
from rqrec.service.events.redis_keys import (
    FIRST,
    NUM_SHARDS,
    check_position,
    history_key,
    impression_key,
    join_positions,
    mark_key,
    shard_of,
    shown_key,
    split_position,
    store_key,
    stream_key,
)
from rqrec.service.events.redis_outcomes import Packed, RedisOutcomes, UserOutcomes, json_of
from rqrec.service.events.store import START, AppendResult, EventStore, StoreLimits, check_read_limit
from rqrec.service.outcomes.outcome_counts import OutcomeCounts
from rqrec.service.redis.client import RedisGate, RedisRefused, RedisUnavailable
from rqrec.service.redis.event_scripts import (
    ADD_SHOWN,
    APPEND_EVENTS,
    DROP_EVENTS,
    FIND_EVENTS,
    FORGET_USER,
    READ_HISTORIES,
    TRIM_EVENTS,
)
from rqrec.service.redis.outcome_scripts import APPEND_AND_COUNT
from rqrec.service.redis.scripts import Script, evaluate, evaluate_all

CONCURRENT_CALLS = 8  # each takes a connection; a client that has no connection left raises an error
SCANNED_AT_ONCE = 1000  # records that one script reads; Redis serves nobody else meanwhile
DROPPED_AT_ONCE = 500  # likewise, of a script that also deletes; it takes about two milliseconds
LONGEST_PAUSE_S = 0.1  # between two of these scripts
SCANNED_PER_EVENT = 20  # records that are read at most for each event that a page may have
TOKENS = 1 << 62
WHOLE_HISTORY = 1 << 30
ItemT = TypeVar("ItemT")


class RedisEventStore(EventStore):
    """Stores events in Redis.

    Args:
        gate: The client of Redis. It is not closed with the store.
        limits: How much is kept, and for how long.
    """

    def __init__(self, gate: RedisGate, limits: StoreLimits) -> None:
        self._gate = gate
        self._limits = limits
        self._turns = asyncio.Semaphore(CONCURRENT_CALLS)
        self._is_cluster = isinstance(gate.client, RedisCluster)
        self._quick_reads = gate.quick_reads
        self._outcomes = RedisOutcomes(gate.client, self._call, self._run_all, limits)

    @override
    async def append(self, events: Sequence[Event]) -> AppendResult:
        unique = dict[bytes, Event]()
        for event in events:
            unique.setdefault(hash_event_id(event), event)
        accepted, named = 0, self._outcomes.named(events)
        for group in self._in_slots(list(unique.items()), lambda one: shard_of(one[1].user_id)):
            accepted += await self._append(group, [] if self._is_cluster else named)
        if self._is_cluster:
            await self._outcomes.count(named)
        return AppendResult(accepted, len(events) - accepted)

    @override
    def history_at_once(self, user_id: str, limit: int) -> list[HistoryEntry] | None:
        return None

    @override
    async def histories(self, user_ids: Sequence[str], limit: int) -> list[list[HistoryEntry]]:
        if self._quick_reads is not None:
            commands = [("LRANGE", history_key(user_id), str(-limit), "-1") for user_id in user_ids]
            lists = await self._checked(self._quick_reads.run, commands)
            return [unpack_entries(f"[{','.join(entries)}]") for entries in lists]
        groups = self._in_slots(user_ids, shard_of)
        calls = [Script(READ_HISTORIES, list(map(history_key, group)), [limit]) for group in groups]
        found = dict[str, list[HistoryEntry]]()
        for group, texts in zip(groups, await self._run_all(calls), strict=True):
            found |= zip(group, map(unpack_entries, texts), strict=True)
        return [found[user_id] for user_id in user_ids]

    @override
    async def add_impressions(self, impressions: Sequence[Impression]) -> None:
        now, lives_s = time.time(), self._limits.impression_ttl_s
        timed = [Packed(one, pack_impression(one), _ms(one.at + lives_s - now)) for one in impressions]
        kept = [packed for packed in timed if packed.lives_ms > 0]
        calls = list(self._outcomes.adding(kept))
        first = len(calls)
        shown = [(one.user_id, one.at, text) for one, text, _ in kept if one.user_id is not None]
        lives = (now - lives_s, self._limits.user_impressions, _ms(lives_s))
        for users in self._in_slots(shown, lambda one: shard_of(one[0])):
            values = [value for _, at, text in users for value in (repr(at), text)]
            calls.append(Script(ADD_SHOWN, [shown_key(user_id) for user_id, _, _ in users], [*lives, *values]))
        surplus = (await self._run_all(calls))[first:]
        await self._delete_impressions([text for texts in surplus for text in texts])

    @override
    async def impression(self, recommendation_id: str) -> Impression | None:
        text = await self._call(self._gate.client.get, impression_key(recommendation_id))
        return None if text is None else unpack_impression(json_of(text))

    @override
    async def outcome_counts(self, trial: int) -> OutcomeCounts:
        return await self._outcomes.counts(trial)

    @override
    async def shown_since(self, user_id: str, at: float) -> set[str]:
        return {item_id for text in await self._shown(user_id, at) for item_id in unpack_impression(text).item_ids}

    @override
    async def user(self, user_id: str, after: str, limit: int) -> UserPage:
        begin = check_position(after)
        history, shown = list[HistoryEntry](), list[str]()
        if after == START:
            history, shown = await self.history(user_id, WHOLE_HISTORY), await self._shown(user_id, 0.0)
        events, next_after = await self._find_events(user_id, begin, limit)
        return UserPage(history, events, list(map(unpack_impression, shown)), next_after)

    @override
    async def forget(self, user_id: str, refused: Sequence[str] = ()) -> str:
        await self._delete_impressions(await self._call(self._gate.client.zrange, shown_key(user_id), 0, -1), refused)
        keys = [stream_key(shard_of(user_id)), history_key(user_id), shown_key(user_id)]
        return str(await self._run(FORGET_USER, keys, user_id))

    @override
    async def drop_events(self, user_id: str, position: str) -> None:
        begin = FIRST
        while begin:
            started = time.perf_counter()
            begin = await self._run_on_events(DROP_EVENTS, user_id, begin, position, DROPPED_AT_ONCE)
            # Leaves Redis to the others for as long as the script took it, which is longer on a loaded machine.
            await asyncio.sleep(min(time.perf_counter() - started, LONGEST_PAUSE_S))

    @override
    async def read(self, position: str, limit: int) -> RecordPage:
        check_read_limit(limit)
        positions, records = split_position(position), list[Record]()
        pipeline = self._gate.client.pipeline(transaction=False)
        for shard, begin in enumerate(positions):
            pipeline.xrange(stream_key(shard), min=f"({begin}", count=limit // NUM_SHARDS)
        for shard, found in enumerate(await self._call(pipeline.execute)):
            records += [unpack_record(fields["user"], fields.get("event")) for _, fields in found]
            positions[shard] = found[-1][0] if found else positions[shard]
        return RecordPage(records, join_positions(positions))

    @override
    async def trim(self, position: str) -> None:
        for shard, last in enumerate(split_position(position)):
            while await self._run(TRIM_EVENTS, [stream_key(shard)], last, SCANNED_AT_ONCE) == SCANNED_AT_ONCE:
                pass

    @override
    async def store_id(self) -> str:
        await self._call(self._gate.client.setnx, store_key(), secrets.token_hex(16))
        return str(await self._call(self._gate.client.get, store_key()))

    @override
    async def size(self) -> int:
        pipeline = self._gate.client.pipeline(transaction=False)
        for shard in range(NUM_SHARDS):
            pipeline.xlen(stream_key(shard))
        size: int = sum(await self._call(pipeline.execute))
        return size

    @override
    async def close(self) -> None:
        """Does nothing: the owner of the client closes it."""

    async def _append(self, events: Sequence[tuple[bytes, Event]], named: Sequence[UserOutcomes]) -> int:
        """Stores events whose keys may be in one script, all or none of them, and returns how many are new.

        The same script counts what the events name.
        """
        limits, keys, arguments = self._limits, list[str](), list[object]()
        for id_hash, event in events:
            user_id = event.user_id
            keys += (mark_key(user_id, id_hash), stream_key(shard_of(user_id)), history_key(user_id))
            arguments += (user_id, pack_event(event), pack_entry(event) if limits.enters_history(event.type) else "")
        lives = (_ms(limits.event_id_ttl_s), limits.user_history, _ms(limits.user_ttl_s))
        arguments = [random.randrange(TOKENS), *lives, *arguments]
        if not named:
            return sum(map(bool, await self._run(APPEND_EVENTS, keys, *arguments)))
        _, count_keys, count_arguments = self._outcomes.counting(named)
        arguments += (*count_arguments, len(events))
        is_new, unknown_trials = await self._run(APPEND_AND_COUNT, [*keys, *count_keys], *arguments)
        await self._outcomes.count_in(unknown_trials, named)
        return sum(map(bool, is_new))

    def _in_slots(self, items: Sequence[ItemT], shard: Callable[[ItemT], int]) -> list[list[ItemT]]:
        """Divides what scripts are to do: in a cluster, the keys of a script must be of one shard."""
        groups = defaultdict[int, list[ItemT]](list)
        for item in items:
            groups[shard(item) if self._is_cluster else 0].append(item)
        return list(groups.values())

    async def _find_events(self, user_id: str, begin: str, limit: int) -> tuple[list[Event], str | None]:
        """Returns some of a user's events after a position, and the position from which to go on; None at the end."""
        position, found = begin, list[tuple[str, str]]()
        for _ in range(max(limit * SCANNED_PER_EVENT // SCANNED_AT_ONCE, 1)):
            position, positions, texts = await self._run_on_events(FIND_EVENTS, user_id, position, "+", SCANNED_AT_ONCE)
            found += zip(positions, texts, strict=True)
            if len(found) > limit:
                position, found = found[limit - 1][0], found[:limit]
                break
            if not position:
                break
        return [unpack_event(user_id, text) for _, text in found], position or None

    async def _run_on_events(self, script: str, user_id: str, position: str, last: str, most: int) -> Any:
        """Runs FIND_EVENTS or DROP_EVENTS on the next `most` records of the stream in which a user's events are."""
        return await self._run(script, [stream_key(shard_of(user_id))], user_id, position, last, most)

    async def _shown(self, user_id: str, since: float) -> list[str]:
        since = max(since, time.time() - self._limits.impression_ttl_s)
        found: list[str] = await self._call(self._gate.client.zrangebyscore, shown_key(user_id), since, "+inf")
        return found

    async def _delete_impressions(self, texts: Sequence[str], names: Sequence[str] = ()) -> None:
        """Deletes impressions, except those that cannot be read: nobody knows their keys, and they expire.

        Args:
            texts: Impressions as text.
            names: Ids of the recommendations of more impressions.
        """
        recommendations = [*names]
        for text in texts:
            with suppress(StoreUnavailable):
                recommendations.append(unpack_impression(text).recommendation_id)
        for group in self._in_slots(recommendations, shard_of):
            await self._call(self._gate.client.delete, *map(impression_key, group))

    async def _run_all(self, scripts: Sequence[Script]) -> list[Any]:
        """Runs scripts in one round trip, and returns the answer of each."""
        if not scripts:
            return []
        if len(scripts) == 1:  # a pipeline would take 30 us more
            return [await self._call(evaluate, self._gate.client, scripts[0])]
        answers: list[Any] = await self._call(evaluate_all, self._gate.client, scripts)
        return answers

    async def _run(self, script: str, keys: Sequence[str], *arguments: object) -> Any:
        return await self._call(evaluate, self._gate.client, Script(script, keys, arguments))

    async def _call(self, command: Callable[..., Awaitable[Any]], *arguments: Any) -> Any:
        async with self._turns:
            return await self._checked(command, *arguments)

    async def _checked(self, command: Callable[..., Awaitable[Any]], *arguments: Any) -> Any:
        try:
            return await self._gate.call(command, *arguments)
        except RedisUnavailable as error:
            kind = StoreRefused if isinstance(error, RedisRefused) else StoreUnavailable
            raise kind(f"the event store in Redis: {error}") from error


def _ms(seconds: float) -> int:
    return max(round(1000 * seconds), 0)
