"""Two replicas, random writes, crashes and restarts, on a real Redis, against a dictionary."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from benchmarks.support.running import RedisServer
from rqrec.models.bundle.bundle import Bundle
from rqrec.models.items.item_tokenizer import ItemTokenizer
from rqrec.service.catalogue.apply import apply_changes, compacted
from rqrec.service.catalogue.changes import Change, Delete, Put, Result
from rqrec.service.catalogue.item import Item
from rqrec.service.catalogue.item_table import Codes
from rqrec.service.catalogue.snapshot import Snapshot
from rqrec.service.contract import Condition
from rqrec.service.errors import NotReady
from rqrec.service.redis.client import RedisGate
from rqrec.service.replication.change_log import ChangeLog
from rqrec.service.replication.live_catalogue import LiveCatalogue
from rqrec.service.serving.loading import load_snapshot
from rqrec.service.settings import Settings
from rqrec.service.telemetry import Metrics
from tests.service.conftest import settings_for

IDS = ["100", "101", "164", "new", "newer"]  # two of the bundle, three not
PREFIXES = 2  # few, so that items collide
SAVE_EVERY = 3


@pytest.fixture(scope="module")
def published(bundle: Bundle) -> Snapshot:
    return load_snapshot(bundle, settings_for(bundle.path), Metrics())


@pytest.fixture(scope="module")
def tokenizer(bundle: Bundle) -> ItemTokenizer:
    return ItemTokenizer(bundle)


def put(item_id: str, content: int, published: Snapshot, tokenizer: ItemTokenizer) -> Put:
    prefix = tuple(published.trie.codes_of(np.array([content % PREFIXES]))[0, :-1].tolist())
    features = np.full(tokenizer.featurizer.width, content, dtype=np.float32).tobytes()
    return Put(Item(item_id, f'{{"title":"{content}","year":{content},"genres":[]}}'), prefix, features)


def contents(snapshot: Snapshot) -> dict[str, tuple[str, Codes]]:
    """Every item with its payload and semantic ID, as a search would reach it."""
    table, places = snapshot.table, snapshot.table.places
    codes = map(tuple, table.codes_of(places).tolist())
    found = {item.item_id: (item.payload, row) for item, row in zip(table.items(places), codes, strict=True)}
    assert table.find(list(found)).tolist() == places.tolist()
    assert len(table) == len(places) == len({row for _, row in found.values()})
    return found


def vectors(snapshot: Snapshot) -> NDArray[np.float32]:
    """Every item's vector, by item id."""
    table = snapshot.table
    ids = sorted(item.item_id for item in table.items(table.places))
    return snapshot.item_vectors.rows[table.find(ids)]


@dataclass
class Replica:
    live: LiveCatalogue
    gate: RedisGate

    @classmethod
    async def start(cls, published: Snapshot, tokenizer: ItemTokenizer, options: Settings) -> "Replica":
        gate, metrics = RedisGate(options, Metrics()), Metrics()

        async def told(_before: Snapshot, _after: Snapshot, _items: Sequence[str]) -> None:
            await asyncio.sleep(0)

        live = LiveCatalogue(published, tokenizer, ChangeLog(gate, published.version), metrics, options, told)
        await live.start()
        return cls(live, gate)

    async def crash(self) -> None:
        await self.live.stop()
        await self.gate.close()


@asynccontextmanager
async def two_replicas(
    published: Snapshot, tokenizer: ItemTokenizer, server: RedisServer, **fields: object
) -> AsyncIterator[list[Replica]]:
    eager = {"catalogue_poll_s": 0.005, "catalogue_save_every": SAVE_EVERY, "redis_pause_s": 0.0, "redis_check_s": 0.05}
    options = settings_for(server.folder, redis_url=server.url, **{"redis_timeout_s": 2.0, **eager, **fields})
    replicas = [await Replica.start(published, tokenizer, options) for _ in range(2)]
    try:
        yield replicas
    finally:
        for replica in replicas:
            await replica.crash()


async def restart(replicas: list[Replica], which: int, published: Snapshot, tokenizer: ItemTokenizer) -> None:
    options = replicas[which].live._settings
    await replicas[which].crash()
    replicas[which] = await Replica.start(published, tokenizer, options)


change = st.tuples(st.sampled_from(IDS), st.one_of(st.none(), st.integers(0, 5)))
step = st.one_of(
    st.tuples(st.just("write"), st.integers(0, 1), change),
    st.tuples(st.just("both write"), change, change),
    st.tuples(st.just("write and crash"), st.integers(0, 1), change),
    st.tuples(st.just("restart"), st.integers(0, 1), st.none()),
)


@given(steps=st.lists(step, max_size=25))
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_replicas_agree_with_a_model(
    steps: list[tuple[str, Any, Any]], published: Snapshot, tokenizer: ItemTokenizer, shared_redis: RedisServer
) -> None:
    def made(one: tuple[str, int | None]) -> Change:
        return Delete(one[0]) if one[1] is None else put(one[0], one[1], published, tokenizer)

    expected = {item_id: payload for item_id, (payload, _) in contents(published).items()}

    def note(one: Change) -> None:
        if isinstance(one, Delete):
            expected.pop(one.item_id, None)
        else:
            expected[one.item.item_id] = one.item.payload

    async def scenario() -> None:
        async with two_replicas(published, tokenizer, shared_redis) as replicas:
            for kind, first, second in steps:
                if kind == "write":
                    one = made(second)
                    was_there = one.item_id in expected
                    outcome = await replicas[first].live.write(one)
                    wanted = {
                        (Put, False): Result.ADDED,
                        (Put, True): Result.REPLACED,
                        (Delete, True): Result.DELETED,
                        (Delete, False): Result.UNKNOWN_ITEM,
                    }
                    assert outcome.result is wanted[type(one), was_there]
                    note(one)
                elif kind == "both write":
                    if first[0] == second[0]:
                        continue  # either may come last
                    pair = [made(first), made(second)]
                    await asyncio.gather(*(r.live.write(one) for r, one in zip(replicas, pair, strict=True)))
                    for one in pair:
                        note(one)
                elif kind == "write and crash":
                    one = made(second)
                    await replicas[first].live._log.append(one, "")
                    note(one)
                    await restart(replicas, first, published, tokenizer)
                else:
                    await restart(replicas, first, published, tokenizer)
            for replica in replicas:
                await replica.live.catch_up()
            one_state, other_state = (replica.live.snapshot for replica in replicas)
            assert contents(one_state) == contents(other_state)
            assert one_state.catalogue_version == other_state.catalogue_version
            assert np.allclose(vectors(one_state), vectors(other_state), atol=1e-5)
            assert {item_id: payload for item_id, (payload, _) in contents(one_state).items()} == expected
            assert len(one_state.table.rows) < len(published.table.rows) + len(IDS) + SAVE_EVERY

    shared_redis.stop()
    shared_redis.start()
    asyncio.run(scenario())


def test_what_follows_does_not_depend_on_batches(published: Snapshot, tokenizer: ItemTokenizer) -> None:
    rng = np.random.default_rng(0)
    changes: list[Change] = [
        Delete(item_id) if rng.random() < 0.3 else put(item_id, int(rng.integers(6)), published, tokenizer)
        for item_id in rng.choice(IDS, 60)
    ]
    whole, outcomes = apply_changes(published, changes, tokenizer, catalogue_version=60)
    state, one_by_one = published, []
    for number, one in enumerate(changes, start=1):
        state, told = apply_changes(state, [one], tokenizer, catalogue_version=number)
        one_by_one += told
    assert outcomes == one_by_one
    assert contents(whole) == contents(state)
    assert np.allclose(vectors(whole), vectors(state), atol=1e-5)
    assert whole.entries == state.entries


def test_rows_that_nothing_names_any_more_go(published: Snapshot, tokenizer: ItemTokenizer) -> None:
    changes: list[Change] = [put("100", number, published, tokenizer) for number in range(4)]
    state = published
    for one in [*changes, put("new", 1, published, tokenizer), Delete("new"), put("newer", 2, published, tokenizer)]:
        state, _ = apply_changes(state, [one], tokenizer, catalogue_version=state.catalogue_version + 1)
    assert len(state.table.rows) == len(published.table.rows) + 6
    assert compacted(state, at_least=5) is state
    kept = compacted(state, at_least=4)
    assert len(kept.table.rows) == len(published.table.rows) + 2
    assert contents(kept) == contents(state)
    assert kept.table.find(["new", "newer"])[0] == -1
    year = {"year": Condition(gte=2, lte=3)}
    for snapshot in (state, kept):
        places = snapshot.table.places
        passing = places[snapshot.filters.eligibility(year).allows(places)]
        assert {item.item_id for item in snapshot.table.items(passing)} == {"100", "newer"}
    history = kept.table.find(["101"])
    before, after = (
        snapshot.table.items(snapshot.recommender.recommend([history], k=9, beam_width=50)[0].leaves_K)
        for snapshot in (state, kept)
    )
    assert before == after
    more = [put("100", 5, published, tokenizer)]
    before_more, after_more = (
        apply_changes(snapshot, more, tokenizer, catalogue_version=9)[0] for snapshot in (state, kept)
    )
    assert contents(before_more) == contents(after_more)


def test_the_last_item_stays_and_a_prefix_is_never_full(published: Snapshot, tokenizer: ItemTokenizer) -> None:
    everything = list(contents(published))
    state, outcomes = apply_changes(published, [Delete(one) for one in everything], tokenizer, catalogue_version=64)
    assert [outcome.result for outcome in outcomes] == [Result.DELETED] * 63 + [Result.LAST_ITEM]
    assert list(contents(state)) == everything[-1:]
    more = [put(f"copy {number}", 0, published, tokenizer) for number in range(20)]
    _, outcomes = apply_changes(state, more, tokenizer, catalogue_version=84)
    assert [outcome.result for outcome in outcomes] == [Result.ADDED] * 20
    assert [outcome.semantic_id[-1] for outcome in outcomes] == list(range(20))  # 16 is the codebook's size


def test_an_emptied_redis_gets_everything_back(
    published: Snapshot, tokenizer: ItemTokenizer, redis_server: RedisServer
) -> None:
    async def scenario() -> None:
        async with two_replicas(published, tokenizer, redis_server) as replicas:
            for number in range(SAVE_EVERY + 1):
                await replicas[0].live.write(put(f"item {number}", number, published, tokenizer))
            before = contents(replicas[0].live.snapshot)
            redis_server.stop()
            redis_server.start()
            outcome = await replicas[1].live.write(Delete("item 0"))
            assert outcome.result is Result.DELETED
            for replica in replicas:
                await replica.live.catch_up()
            assert contents(replicas[0].live.snapshot) == contents(replicas[1].live.snapshot)
            assert contents(replicas[0].live.snapshot).keys() == before.keys() - {"item 0"}
            await restart(replicas, 0, published, tokenizer)
            assert contents(replicas[0].live.snapshot) == contents(replicas[1].live.snapshot)

    asyncio.run(scenario())


def test_what_a_replica_that_was_behind_puts_back_is_completed(
    published: Snapshot, tokenizer: ItemTokenizer, redis_server: RedisServer
) -> None:
    async def scenario() -> None:
        slow = {"catalogue_poll_s": 60.0}  # nobody follows unless told to
        async with two_replicas(published, tokenizer, redis_server, **slow) as (ahead, behind):
            await ahead.live.write(put("item 0", 0, published, tokenizer))
            await behind.live.catch_up()
            await ahead.live.write(put("item 1", 1, published, tokenizer))
            await ahead.live.write(Delete("100"))
            redis_server.stop()
            redis_server.start()
            await behind.live.write(Delete("item 0"))
            for replica in (ahead, behind):
                await replica.live.catch_up()
            assert contents(ahead.live.snapshot) == contents(behind.live.snapshot)
            assert contents(ahead.live.snapshot).keys() == contents(published).keys() - {"100"} | {"item 1"}

    asyncio.run(scenario())


def test_nothing_is_confirmed_while_redis_is_away(
    published: Snapshot, tokenizer: ItemTokenizer, redis_server: RedisServer
) -> None:
    async def scenario() -> None:
        async with two_replicas(published, tokenizer, redis_server, redis_timeout_s=0.2, redis_retries=0) as replicas:
            redis_server.stop()
            with pytest.raises(NotReady, match="send it again"):
                await replicas[0].live.write(Delete("100"))
            redis_server.start()
            assert (await replicas[0].live.write(Delete("100"))).result is Result.DELETED

    asyncio.run(scenario())


def test_changes_of_other_software_are_skipped_by_all(
    published: Snapshot, tokenizer: ItemTokenizer, redis_server: RedisServer
) -> None:
    stream = f"rqrec:{{{published.version}}}:changes"

    async def scenario() -> None:
        async with two_replicas(published, tokenizer, redis_server) as replicas:
            bad: list[dict[Any, Any]] = [{"change": "[]"}, {"change": '{"put": 1}'}, {"other": "x"}, {"change": "\x00"}]
            for fields in bad:
                redis_server.client.xadd(stream, fields)
            short = put("short", 1, published, tokenizer)
            await replicas[0].live._log.append(Put(short.item, short.codes, b"1234"), "")
            await replicas[0].live._log.append(Put(short.item, (99, 0, 0), short.features), "")
            assert (await replicas[0].live.write(Delete("100"))).result is Result.DELETED
            await replicas[1].live.catch_up()
            states = [replica.live.snapshot for replica in replicas]
            assert [state.catalogue_version for state in states] == [7, 7]
            assert contents(states[0]) == contents(states[1])
            assert contents(states[0]).keys() == contents(published).keys() - {"100"}

    asyncio.run(scenario())
