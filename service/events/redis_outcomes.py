"""Counts what came of impressions in Redis.

On a single server, one script stores events and counts their outcomes. In a cluster, an impression may lie on another
node than the event that names it. So a script of their own counts the outcomes, after the events were stored. A call
that fails between both is repeated by the caller, and each outcome of an impression counts once.
"""

from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import orjson
from cachetools import LRUCache
from redis.asyncio import Redis, RedisCluster

from rqrec.service.events.counting import named_outcomes, surface_of
from rqrec.service.events.event import Event, Impression
from rqrec.service.events.redis_keys import NUM_SHARDS, counts_key, impression_and_early_keys, shard_of
from rqrec.service.events.store import EARLY_OUTCOME_S, StoreLimits
from rqrec.service.outcomes.outcome_counts import MAX_SURFACES, Arm, Cell, OutcomeCounts, OutcomeKind, Outcomes
from rqrec.service.redis.outcome_scripts import ADD_IMPRESSIONS, COUNT_OUTCOMES
from rqrec.service.redis.scripts import Script

LETTERS = {OutcomeKind.CLICKS: "c", OutcomeKind.CONVERSIONS: "v"}
COLUMNS = ("i", *LETTERS.values())  # of `Outcomes`
NO_FLAGS = "--"
KNOWN_TRIALS = 4
RunAll = Callable[[Sequence[Script]], Awaitable[list[Any]]]


class UserOutcomes(NamedTuple):
    """What a user's events say of one recommendation.

    Attributes:
        recommendation_id: The recommendation.
        user_id: The user of the events.
        letters: The letters of the kinds of outcomes.
    """

    recommendation_id: str
    user_id: str
    letters: str


class Packed(NamedTuple):
    """An impression to store.

    Attributes:
        impression: The impression.
        text: What `pack_impression` returns for it.
        lives_ms: How long it is kept, in milliseconds.
    """

    impression: Impression
    text: str
    lives_ms: int


class RedisOutcomes:
    """Counts impressions and their outcomes.

    Scripts get the keys of the counts of the trials that were seen last. A script that meets another trial names it,
    and runs again with its key.

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
        self._trials: LRUCache[int, None] = LRUCache(KNOWN_TRIALS)

    def adding(self, impressions: Iterable[Packed]) -> Iterator[Script]:
        """Yields the scripts that store and count impressions.

        Args:
            impressions: The impressions.
        """
        shards = defaultdict[int, list[Packed]](list)
        for packed in impressions:
            shards[self._shard(packed.impression.recommendation_id)].append(packed)
        for shard, some in shards.items():
            keys, arguments = list[str](), list[object]([_ms(self._limits.counts_ttl_s), MAX_SURFACES])
            for one, text, lives_ms in some:
                name, trial = one.recommendation_id, one.trial
                keys += (*impression_and_early_keys(name), counts_key(shard, trial or 0))
                arguments += (text if trial is None else f"{_head(one)}\n{text}", lives_ms)
                if trial is not None:
                    self._trials[trial] = None
            yield Script(ADD_IMPRESSIONS, keys, arguments)

    def named(self, events: Sequence[Event]) -> list[UserOutcomes]:
        """Returns the outcomes that some events name.

        Args:
            events: The events.
        """
        letters = dict[tuple[str, str], str]()
        for recommendation_id, user_id, kind in named_outcomes(events, self._limits):
            key = (recommendation_id, user_id)
            letters[key] = letters.get(key, "") + LETTERS[kind]
        return [UserOutcomes(*key, found) for key, found in letters.items()]

    def counting(self, outcomes: Sequence[UserOutcomes], trials: Iterable[int] | None = None) -> Script:
        """Returns the script that counts outcomes of one shard; it answers with the trials that it does not know.

        Args:
            outcomes: The outcomes, at least one.
            trials: The trials whose outcomes are counted; None for those that were seen last.
        """
        trials = list(self._trials if trials is None else trials)
        shard = self._shard(outcomes[0].recommendation_id)
        keys = [counts_key(shard, trial) for trial in trials]
        lives = (_ms(self._limits.counts_ttl_s), _ms(EARLY_OUTCOME_S))
        lines = list[str]()  # one argument, because each one costs the client a microsecond
        for recommendation_id, user_id, letters in outcomes:
            keys += impression_and_early_keys(recommendation_id)
            lines.append(f"{letters} {_json(user_id)}\n")
        return Script(COUNT_OUTCOMES, keys, [*lives, len(trials), *trials, "".join(lines)])

    async def count(self, outcomes: Sequence[UserOutcomes]) -> None:
        """Counts outcomes that were not counted before; those without an impression wait for it.

        Args:
            outcomes: The outcomes.

        Raises:
            StoreUnavailable: If Redis does not answer. Some may be counted; call it again.
        """
        answers = await self._run_all([self.counting(some) for some in self._by_shard(outcomes)])
        await self.count_in([trial for unknown in answers for trial in unknown], outcomes)

    async def count_in(self, trials: Iterable[str], outcomes: Sequence[UserOutcomes]) -> None:
        """Counts the outcomes of trials that a script did not know.

        Args:
            trials: What the script has answered.
            outcomes: The outcomes that the script has got.

        Raises:
            StoreUnavailable: If Redis does not answer. Some may be counted; call it again.
        """
        if unknown := set(map(int, trials)):
            self._trials.update(dict.fromkeys(unknown))
            await self._run_all([self.counting(some, unknown) for some in self._by_shard(outcomes)])

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

    def _by_shard(self, outcomes: Iterable[UserOutcomes]) -> Iterable[Sequence[UserOutcomes]]:
        shards = defaultdict[int, list[UserOutcomes]](list)
        for one in outcomes:
            shards[self._shard(one.recommendation_id)].append(one)
        return shards.values()

    def _shard(self, recommendation_id: str) -> int:
        """The shard of the counts. Only a cluster needs all keys of a script in one slot."""
        return shard_of(recommendation_id) if self._is_cluster else 0


def json_of(text: str) -> str:
    """Returns a stored impression without the head that says where it counts."""
    return text.rpartition("\n")[2]  # JSON has no line break


def _head(impression: Impression) -> str:
    arm = _json((impression.model_version, impression.role))[:-1]
    surface = _json(surface_of(impression))
    return f"{NO_FLAGS}\n{impression.trial}\n{_json(impression.user_id)}\n{arm},\n{surface}\n{impression.bucket}"


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
