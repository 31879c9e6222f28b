"""Counts what came of impressions in Redis.

An outcome is counted by a script of its own, after the event was stored: its impression may lie on another node of a
cluster. A call that fails between both is repeated by the caller, and each outcome of an impression counts once.
"""

from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from typing import Any

import orjson
from redis.asyncio import Redis, RedisCluster

from rqrec.service.events.counting import ANYBODY, NamedOutcome, surface_of, user_mark
from rqrec.service.events.event import Impression
from rqrec.service.events.packing import pack_impression, unpack_impression
from rqrec.service.events.redis_keys import NUM_SHARDS, counts_key, impression_key, outcomes_key, shard_of
from rqrec.service.events.store import EARLY_OUTCOME_S, StoreLimits
from rqrec.service.outcomes.outcome_counts import MAX_SURFACES, Arm, Cell, OutcomeCounts, OutcomeKind, Outcomes
from rqrec.service.redis.outcome_scripts import ADD_IMPRESSIONS, COUNT_OUTCOMES, NOTE_EARLY
from rqrec.service.redis.scripts import Script

LETTERS = {OutcomeKind.CLICKS: "c", OutcomeKind.CONVERSIONS: "v"}
COLUMNS = ("i", *LETTERS.values())  # of `Outcomes`
RunAll = Callable[[Sequence[Script]], Awaitable[list[Any]]]


class RedisOutcomes:
    """Counts impressions and their outcomes.

    Args:
        client: The client of Redis.
        call: Awaits a command of the client, and raises StoreUnavailable if Redis does not answer.
        run_all: Runs scripts in one round trip, likewise.
        limits: How much is kept, and for how long.
    """

    def __init__(
        self,
        client: Redis | RedisCluster,
        call: Callable[..., Awaitable[Any]],
        run_all: RunAll,
        limits: StoreLimits,
    ) -> None:
        self._client = client
        self._call = call
        self._run_all = run_all
        self._limits = limits
        self._is_cluster = isinstance(client, RedisCluster)

    def adding(self, impressions: Iterable[tuple[Impression, int]]) -> Iterator[Script]:
        """Yields the scripts that store and count impressions.

        Args:
            impressions: The impressions, and how long each is kept, in milliseconds.
        """
        shards = defaultdict[int, tuple[list[str], list[str | int]]](self._empty_call)
        for one, lives_ms in impressions:
            keys, arguments = shards[self._shard(one.recommendation_id)]
            keys += self._keys(one)
            text, mark = pack_impression(one), user_mark(one.recommendation_id, one.user_id)
            arguments += (text, lives_ms, mark, *(self._cells(one) if one.trial is not None else ("", "", "")))
        for keys, arguments in shards.values():
            yield Script(ADD_IMPRESSIONS, keys, arguments)

    async def count(self, named: Sequence[NamedOutcome]) -> None:
        """Counts outcomes that were not counted before; those without an impression wait for it.

        Args:
            named: The outcomes.

        Raises:
            StoreUnavailable: If Redis does not answer. Some may be counted; call it again.
        """
        while named:
            pipeline = self._client.pipeline(transaction=False)
            for one in named:
                pipeline.get(impression_key(one.recommendation_id))
            texts = await self._call(pipeline.execute)
            early = [one for one, text in zip(named, texts, strict=True) if text is None]
            stored = [
                (one, unpack_impression(text)) for one, text in zip(named, texts, strict=True) if text is not None
            ]
            await self._run_all(list(self._counting((one, shown) for one, shown in stored if one.belongs_to(shown))))
            named = await self._note(early)

    async def counts(self, trial: int) -> OutcomeCounts:
        """Returns the counts of a trial.

        Args:
            trial: The trial.

        Raises:
            StoreUnavailable: If Redis does not answer.
        """
        pipeline = self._client.pipeline(transaction=False)
        for shard in range(NUM_SHARDS if self._is_cluster else 1):
            pipeline.hgetall(counts_key(shard, trial))
        return OutcomeCounts.merged(cell for fields in await self._call(pipeline.execute) for cell in _cells_of(fields))

    async def _note(self, early: Sequence[NamedOutcome]) -> list[NamedOutcome]:
        """Notes outcomes that came before their impressions. Returns those whose impressions have come by now."""
        by_shard = defaultdict[int, list[NamedOutcome]](list)
        for one in early:
            by_shard[self._shard(one.recommendation_id)].append(one)
        scripts = list[Script]()
        for some in by_shard.values():
            keys = [key(one.recommendation_id) for one in some for key in (impression_key, outcomes_key)]
            marks = [(LETTERS[one.kind], user_mark(one.recommendation_id, one.user_id)) for one in some]
            arguments = [_ms(EARLY_OUTCOME_S), ANYBODY, *(text for mark in marks for text in mark)]
            scripts.append(Script(NOTE_EARLY, keys, arguments))
        noted = [is_noted for answer in await self._run_all(scripts) for is_noted in answer]
        in_order = (one for some in by_shard.values() for one in some)
        return [one for one, is_noted in zip(in_order, noted, strict=True) if not is_noted]

    def _counting(self, stored: Iterable[tuple[NamedOutcome, Impression]]) -> Iterator[Script]:
        shards = defaultdict[int, tuple[list[str], list[str | int]]](self._empty_call)
        for one, impression in stored:
            keys, arguments = shards[self._shard(one.recommendation_id)]
            keys += self._keys(impression)
            arguments += (LETTERS[one.kind], *self._cells(impression))
        for keys, arguments in shards.values():
            yield Script(COUNT_OUTCOMES, keys, arguments)

    def _empty_call(self) -> tuple[list[str], list[str | int]]:
        return [], [_ms(self._limits.counts_ttl_s), MAX_SURFACES]

    def _keys(self, impression: Impression) -> tuple[str, str, str]:
        name = impression.recommendation_id
        return impression_key(name), outcomes_key(name), counts_key(self._shard(name), impression.trial or 0)

    def _cells(self, impression: Impression) -> tuple[str, str, int]:
        """The arm, the surface and the bucket of an impression, as the scripts take them."""
        arm = _json((impression.model_version, impression.role))
        return f"{arm[:-1]},", _json(surface_of(impression)), impression.bucket

    def _shard(self, recommendation_id: str) -> int:
        """The shard of the counts. Only a cluster needs all keys of a script in one slot."""
        return shard_of(recommendation_id) if self._is_cluster else 0


def _cells_of(fields: dict[str, str]) -> Iterator[tuple[Cell, Outcomes]]:
    numbers = defaultdict[str, list[int]](lambda: [0] * len(COLUMNS))
    for name, value in fields.items():
        if name[0] in COLUMNS:
            numbers[name[1:]][COLUMNS.index(name[0])] = int(value)
    for text, counts in numbers.items():
        version, role, part = orjson.loads(text)
        yield Cell(Arm(version, role), part), Outcomes(*counts)


def _json(value: object) -> str:
    return orjson.dumps(value).decode()


def _ms(seconds: float) -> int:
    return round(1000 * seconds)
