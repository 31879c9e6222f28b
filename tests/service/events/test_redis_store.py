import asyncio
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from redis import RedisCluster

from benchmarks.support.running import RedisServer, running_redis
from rqrec.service.errors import StoreUnavailable
from rqrec.service.events.event import Event, ForgottenUser, Impression, UserPage
from rqrec.service.events.redis_keys import history_key, impression_key, mark_key, shard_of, shown_key, stream_key
from rqrec.service.events.redis_store import DROPPED_AT_ONCE
from rqrec.service.events.store import START, AppendResult, StoreLimits
from rqrec.service.outcomes.outcome_counts import Arm, Outcomes
from rqrec.service.redis.event_scripts import APPEND_EVENTS
from tests.service.events.opened_store import OpenedStore

NOW, HOUR_S = float(round(time.time())), 3600
QUICKLY_S = 1.0


@pytest.fixture
def opened(redis_server: RedisServer) -> Iterator[OpenedStore]:
    opened = OpenedStore(redis_server.url)
    yield opened
    opened.close()


def event(number: int, user_id: str = "ann") -> Event:
    return Event(f"event {number}", user_id, f"item {number}", "view", NOW + number)


def impression(number: int, user_id: str | None = "ann", trial: int | None = None) -> Impression:
    items = (f"item {number}",)
    return Impression(f"list {number}", user_id, "home", "model-1", "active", items, NOW + number, trial=trial)


def test_a_redis_that_keeps_a_file_has_everything_after_a_crash(tmp_path: Path) -> None:
    with running_redis(tmp_path, keeps=True) as server:
        opened = OpenedStore(server.url)
        run, store = opened.run, opened.store
        run(store.append([event(number) for number in range(100)]))
        run(store.add_impressions([impression(1)]))
        before, page = opened.user("ann"), run(store.read(START, 2000))
        server.stop()
        server.start()
        opened.reopen()
        run, store = opened.run, opened.store
        assert opened.user("ann") == before
        assert run(store.append([event(99), event(100)])) == AppendResult(accepted=1, duplicates=1)
        assert run(store.read(page.position, 1000)).records == [event(100)]
        opened.close()


def test_more_callers_than_connections_wait_for_their_turn(opened: OpenedStore) -> None:
    async def all_at_once() -> int:
        appended = await asyncio.gather(*(opened.store.append([event(number)]) for number in range(100)))
        await asyncio.gather(*(opened.store.impression(f"list {number}") for number in range(100)))
        return sum(result.accepted for result in appended)

    assert opened.run(all_at_once()) == 100


def test_without_redis_every_call_fails_quickly(opened: OpenedStore, redis_server: RedisServer) -> None:
    store = opened.store
    opened.run(store.append([event(1)]))
    redis_server.stop()
    calls = [
        store.append([event(2)]),
        store.history("ann", 10),
        store.add_impressions([impression(1), impression(2, None)]),
        store.impression("list 1"),
        store.shown_since("ann", 0.0),
        store.user("ann", START, 100),
        store.forget("ann"),
        store.drop_events("ann", "5-5"),
        store.read(START, 16),
        store.trim(START),
        store.size(),
    ]
    for call in calls:
        begin = time.monotonic()
        with pytest.raises(StoreUnavailable, match="the event store in Redis"):
            opened.run(call)
        assert time.monotonic() - begin < QUICKLY_S
    redis_server.start()
    time.sleep(0.3)  # longer than the pause of the client
    assert opened.run(store.append([event(2)])).accepted == 1


def test_a_full_redis_stores_nothing_and_can_still_forget(opened: OpenedStore, redis_server: RedisServer) -> None:
    run, store = opened.run, opened.store
    run(store.append([event(1)]))
    redis_server.client.config_set("maxmemory", 1)
    with pytest.raises(StoreUnavailable, match="OOM"):
        run(store.append([event(2), event(3)]))
    opened.forget("ann")
    redis_server.client.config_set("maxmemory", 0)
    assert run(store.append([event(2)])).accepted == 1
    assert run(store.read(START, 100)).records == [ForgottenUser("ann"), event(2)]


def test_a_repeated_script_counts_its_events_as_new_and_stores_them_once(redis_server: RedisServer) -> None:
    keys = [mark_key("ann", b"1"), stream_key(3), history_key("ann")]
    arguments = ["ann", "[]", "[1.5]"]
    for token, expected in ((1, 1), (1, 1), (2, 0)):
        answer = redis_server.client.eval(APPEND_EVENTS, 3, *keys, token, 10_000, 500, 10_000, *arguments)
        assert answer == [expected]
    assert redis_server.client.xlen(keys[1]) == redis_server.client.llen(keys[2]) == 1


def test_users_of_one_stream_are_kept_apart(opened: OpenedStore) -> None:
    run, store = opened.run, opened.store
    other = next(name for name in map(str, range(1000)) if shard_of(name) == shard_of("ann"))
    run(store.append([event(1), event(2, other), event(3)]))
    assert opened.user("ann").events == [event(1), event(3)]
    opened.forget("ann")
    assert opened.user(other).events == [event(2, other)]


def test_a_page_reads_a_part_of_a_long_stream(opened: OpenedStore) -> None:
    run, store = opened.run, opened.store
    other = next(name for name in map(str, range(1000)) if shard_of(name) == shard_of("ann"))
    run(store.append([event(number, other) for number in range(2500)]))
    run(store.append([event(5000)]))
    page = run(store.user("ann", START, 1))
    assert (page.events, len(page.history)) == ([], 1)
    assert page.next_after == redis_position(opened, other, 1000)
    assert opened.user("ann", limit=1).events == [event(5000)]


def test_a_user_is_forgotten_in_parts_that_spare_the_events_of_others(
    opened: OpenedStore, redis_server: RedisServer
) -> None:
    run, store, num = opened.run, opened.store, 2 * DROPPED_AT_ONCE + 100
    other = next(name for name in map(str, range(1000)) if shard_of(name) == shard_of("ann"))
    run(store.append([event(number, "ann" if number % 10 else other) for number in range(num)]))
    redis_server.client.config_resetstat()
    opened.forget("ann")
    assert run(store.read(START, 16 * num)).records == [
        *(event(number, other) for number in range(0, num, 10)),
        ForgottenUser("ann"),
    ]
    assert redis_server.client.info("commandstats")["cmdstat_xdel"]["calls"] == 3


def redis_position(opened: OpenedStore, user_id: str, number: int) -> str | None:
    """The position of an event of a user, counted from 1."""
    return opened.run(opened.store.user(user_id, START, number)).next_after


def test_all_keys_but_the_streams_expire(opened: OpenedStore, redis_server: RedisServer) -> None:
    opened.run(opened.store.append([event(1), event(2, "bob")]))
    opened.run(opened.store.add_impressions([impression(1), impression(2, None)]))
    lives = {key: redis_server.client.pttl(key) for key in redis_server.client.scan_iter()}
    limits = StoreLimits()
    expected = {
        "history": limits.user_ttl_s,
        "id": limits.event_id_ttl_s,
        "shown": limits.impression_ttl_s,
        "impression": limits.impression_ttl_s,
    }
    assert len(lives) == 9
    for key, life_ms in lives.items():
        prefix, shard, *name = key.split(":")
        assert (prefix, shard) == ("rqrec", "{events")
        kind = name[1]
        if kind == "stream":
            assert life_ms == -1
        else:
            assert abs(life_ms / 1000 - expected[kind]) < HOUR_S  # lists live from their own time on


def test_a_cluster_does_all_that_a_server_does(cluster: list[int]) -> None:
    opened = OpenedStore(
        f"redis+cluster://127.0.0.1:{cluster[0]}", StoreLimits(user_impressions=2, click_types=frozenset({"view"}))
    )
    run, store = opened.run, opened.store
    events = [event(number, f"user {number % 20}") for number in range(200)]
    assert run(store.append([*events, events[0]])) == AppendResult(accepted=200, duplicates=1)
    assert run(store.append([*events[:5], event(200, "ann")])) == AppendResult(accepted=1, duplicates=5)
    assert run(store.size()) == 201
    run(store.add_impressions([impression(number) for number in range(4)] + [impression(9, None)]))
    assert [run(store.impression(f"list {number}")) for number in (1, 3, 9)] == [
        None,
        impression(3),
        impression(9, None),
    ]
    assert run(store.shown_since("ann", NOW + 3)) == {"item 3"}
    run(store.add_impressions([impression(number, user_id=None, trial=7) for number in range(100, 300)]))
    clicks = [event(number, f"user {number % 20}") for number in range(50, 200)]
    named = [replace(one, recommendation_id=one.event_id.replace("event", "list")) for one in clicks]
    for _ in range(2):
        run(store.append(named))
    run(store.add_impressions([impression(number, user_id=None, trial=7) for number in range(50, 110)]))
    assert run(store.outcome_counts(7)).total(Arm("model-1", "active")) == Outcomes(impressions=250, clicks=150)
    assert [entry.item_id for entry in run(store.history("user 1", 3))] == ["item 141", "item 161", "item 181"]
    assert opened.user("user 1").events == events[1::20]
    opened.forget("user 1")
    opened.forget("ann")
    assert opened.user("ann") == UserPage([], [], [])
    records, position = list[object](), START
    while (page := run(store.read(position, 64))).records:
        records, position = records + page.records, page.position
    kept = [one for one in events if one.user_id != "user 1"]
    assert set(records) == {*kept, ForgottenUser("user 1"), ForgottenUser("ann")}
    run(store.trim(position))
    assert run(store.size()) == 0
    opened.close()
    with RedisCluster(host="127.0.0.1", port=cluster[0]) as client:
        slots = {client.keyslot(stream_key(shard)) for shard in range(16)}
    assert len(slots) == 16


def test_a_value_that_the_store_did_not_write_is_an_error_of_the_store(
    opened: OpenedStore, redis_server: RedisServer
) -> None:
    redis_server.client.rpush(history_key("ann"), "no JSON")
    redis_server.client.set(impression_key("list 1"), "[]")
    calls = (
        opened.store.history("ann", 1),
        opened.store.histories(["ann", "bob"], 1),
        opened.store.user("ann", START, 100),
        opened.store.impression("list 1"),
    )
    for call in calls:
        with pytest.raises(StoreUnavailable, match="must hold only what the service wrote"):
            opened.run(call)


def test_an_error_in_a_pipeline_names_no_user(
    opened: OpenedStore, redis_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    redis_server.client.set(history_key("ann"), "no list")
    with pytest.raises(StoreUnavailable, match="ResponseError: .*WRONGTYPE") as error:
        opened.run(opened.store.histories(["ann", "bob"], 1))
    assert "WRONGTYPE" in caplog.text
    assert "ann" not in str(error.value) + caplog.text


def test_an_impression_that_cannot_be_read_does_not_keep_its_user_from_being_forgotten(
    opened: OpenedStore, redis_server: RedisServer
) -> None:
    opened.run(opened.store.add_impressions([impression(1), impression(2)]))
    redis_server.client.zadd(shown_key("ann"), {"no JSON": NOW})
    opened.forget("ann")
    assert opened.user("ann") == UserPage([], [], [])
    assert [opened.run(opened.store.impression(f"list {number}")) for number in (1, 2)] == [None, None]
