"""Both event stores do what `EventStore` says."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace

import pytest

from rqrec.service.events.event import Event, ForgottenUser, HistoryEntry, Impression, Record, UserPage
from rqrec.service.events.store import START, AppendResult, StoreLimits
from tests.service.events.opened_store import OpenedStore

NOW = float(round(time.time()))


def event(number: int, user_id: str = "ann", at: float | None = None, **fields: object) -> Event:
    made = Event(f"event {number}", user_id, f"item {number}", "view", NOW + number if at is None else at)
    return replace(made, **fields)  # type: ignore[arg-type]


def impression(number: int, user_id: str | None = "ann", at: float | None = None) -> Impression:
    items = (f"item {number}", "everywhere")
    when = NOW + number if at is None else at
    return Impression(f"list {number}", user_id, "home", "model-1", "active", items, when, after="list 0")


def items(history: list[HistoryEntry]) -> list[str]:
    return [entry.item_id.removeprefix("item ") for entry in history]


def test_an_empty_store_knows_nobody(opened: OpenedStore) -> None:
    run, store = opened.run, opened.store
    assert run(store.history("ann", 10)) == []
    assert run(store.impression("list 1")) is None
    assert run(store.shown_since("ann", 0.0)) == set()
    assert opened.user("ann") == UserPage([], [], [])
    assert run(store.size()) == 0
    page = run(store.read(START, 100))
    assert page.records == []
    assert run(store.read(page.position, 100)).records == []
    run(store.append([event(1)]))
    assert run(store.read(page.position, 100)).records == [event(1)]


def test_a_store_keeps_its_id(opened: OpenedStore) -> None:
    opened.run(opened.store.append([event(1)]))
    store_id = opened.run(opened.store.store_id())
    assert len(store_id) == 32
    opened.reopen()
    assert opened.run(opened.store.store_id()) == store_id


def test_an_event_comes_back_as_it_was(opened: OpenedStore) -> None:
    run, store = opened.run, opened.store
    odd = Event(
        '"id"', "{ann}:*\0ü", "01, \n'x'", "view", 1_700_000_000.123456, value=0.1 + 0.2, recommendation_id="r 1"
    )
    assert run(store.append([odd])) == AppendResult(accepted=1, duplicates=0)
    assert run(store.read(START, 100)).records == [odd]
    entry = HistoryEntry(odd.item_id, "view", 1_700_000_000.123456)
    assert opened.user(odd.user_id) == UserPage([entry], [odd], [])


def test_an_event_that_is_sent_again_counts_once(opened: OpenedStore) -> None:
    run, store = opened.run, opened.store
    assert run(store.append([event(1), event(2), event(1, type="like")])) == AppendResult(accepted=2, duplicates=1)
    opened.reopen()
    run, store = opened.run, opened.store
    again = [event(1), event(3), event(2, type="like")]
    assert run(store.append(again)) == AppendResult(accepted=1, duplicates=2)
    assert run(store.read(START, 100)).records == [event(1), event(2), event(3)]
    assert items(run(store.history("ann", 10))) == ["1", "2", "3"]


def test_equal_ids_of_two_users_are_two_events(opened: OpenedStore) -> None:
    events = [event(1, "ann"), event(1, "bob"), event(1, "an", event_id="nevent 1")]
    assert opened.run(opened.store.append(events)) == AppendResult(accepted=3, duplicates=0)


def test_an_event_id_is_forgotten_after_its_time(open_store: Callable[..., OpenedStore]) -> None:
    opened = open_store(StoreLimits(event_id_ttl_s=0.3))
    assert opened.run(opened.store.append([event(1)])).accepted == 1
    time.sleep(0.4)
    assert opened.run(opened.store.append([event(1), event(1)])) == AppendResult(accepted=1, duplicates=1)


def test_a_call_with_an_impossible_event_stores_nothing(opened: OpenedStore) -> None:
    for bad in (event(2, at=float("nan")), event(2, value=float("inf")), event(2, item_id="\ud800")):
        with pytest.raises(ValueError, match=r"must (be finite numbers|hold valid Unicode)"):
            opened.run(opened.store.append([event(1), bad]))
    assert opened.run(opened.store.size()) == 0


def test_histories_of_several_users_are_read_at_once(opened: OpenedStore) -> None:
    run, store = opened.run, opened.store
    assert run(store.histories(["ann", "ben"], 5)) == [[], []]
    run(store.append([event(number, user_id="ann" if number < 4 else "ben") for number in range(8)]))
    ann, nobody, ben = run(store.histories(["ann", "nobody", "ben"], 2))
    assert (items(ann), nobody, items(ben)) == (["2", "3"], [], ["6", "7"])


def test_a_history_is_in_the_order_of_times_then_of_arrival(opened: OpenedStore) -> None:
    run, store = opened.run, opened.store
    run(store.append([event(1, at=NOW + 5), event(2, at=NOW), event(3, at=NOW + 5)]))
    run(store.append([event(4, at=NOW + 2.5), event(5, at=NOW), event(6, at=-1e9), event(7, at=NOW + 5)]))
    assert items(run(store.history("ann", 10))) == ["6", "2", "5", "4", "1", "3", "7"]
    assert items(run(store.history("ann", 2))) == ["3", "7"]
    assert run(store.history("bob", 10)) == []


def test_a_history_keeps_the_latest_entries_of_the_types_that_enter_it(open_store: Callable[..., OpenedStore]) -> None:
    opened = open_store(StoreLimits(user_history=3, history_types=frozenset({"view", "like"})))
    run, store = opened.run, opened.store
    run(store.append([event(number) for number in (5, 1, 4, 2)]))
    assert items(run(store.history("ann", 10))) == ["2", "4", "5"]
    run(store.append([event(3, type="like"), event(9, type="click"), event(0)]))
    assert items(run(store.history("ann", 10))) == ["3", "4", "5"]
    run(store.append([event(number) for number in range(10, 20)]))
    assert items(run(store.history("ann", 10))) == ["17", "18", "19"]
    run(store.append([event(20, at=NOW + 17)]))  # of equal times, the one that arrived first goes
    assert items(run(store.history("ann", 10))) == ["20", "18", "19"]
    assert run(store.size()) == 18


def test_a_history_expires_after_the_last_event(open_store: Callable[..., OpenedStore]) -> None:
    opened = open_store(StoreLimits(user_ttl_s=1.5))
    run, store = opened.run, opened.store
    run(store.append([event(1), event(1, "bob")]))
    time.sleep(0.8)
    run(store.append([event(2)]))
    time.sleep(0.8)
    assert items(run(store.history("ann", 10))) == ["1", "2"]
    assert run(store.history("bob", 10)) == []
    run(store.append([event(2, "bob")]))
    assert items(run(store.history("bob", 10))) == ["2"]


def test_impressions_are_found_by_recommendation_and_by_user(opened: OpenedStore) -> None:
    run, store = opened.run, opened.store
    for _ in range(2):
        run(store.add_impressions([impression(3), impression(1), impression(2, None)]))
        run(store.add_impressions([]))
    assert run(store.impression("list 1")) == impression(1)
    assert run(store.impression("list 2")) == impression(2, None)
    assert run(store.impression("list 4")) is None
    assert run(store.shown_since("ann", NOW)) == {"item 1", "item 3", "everywhere"}
    assert run(store.shown_since("ann", NOW + 3)) == {"item 3", "everywhere"}
    assert run(store.shown_since("ann", NOW + 4)) == set()
    assert opened.user("ann").impressions == [impression(1), impression(3)]
    assert run(store.size()) == 0


def test_impressions_expire(open_store: Callable[..., OpenedStore]) -> None:
    opened = open_store(StoreLimits(impression_ttl_s=100.0))
    run, store = opened.run, opened.store
    now = time.time()
    soon, late, anonymous = impression(1, at=now - 99.5), impression(2, at=now), impression(3, None, at=now - 99.5)
    run(store.add_impressions([soon, late, anonymous, impression(4, at=now - 101)]))
    assert run(store.impression("list 4")) is None
    assert run(store.shown_since("ann", 0.0)) == {"item 1", "item 2", "everywhere"}
    time.sleep(0.6)
    assert [run(store.impression(f"list {number}")) for number in (1, 2, 3)] == [None, late, None]
    assert run(store.shown_since("ann", 0.0)) == {"item 2", "everywhere"}
    assert opened.user("ann").impressions == [late]


def test_of_too_many_impressions_the_latest_stay(open_store: Callable[..., OpenedStore]) -> None:
    opened = open_store(StoreLimits(user_impressions=2))
    run, store = opened.run, opened.store
    run(store.add_impressions([impression(number) for number in (1, 4, 3)] + [impression(5, "bob")]))
    run(store.add_impressions([impression(2), impression(6, None)]))
    found = [number for number in range(1, 7) if run(store.impression(f"list {number}"))]
    assert found == [3, 4, 5, 6]
    assert opened.user("ann").impressions == [impression(3), impression(4)]


def test_nothing_stays_of_a_forgotten_user(opened: OpenedStore) -> None:
    run, store = opened.run, opened.store
    run(store.append([event(1, "bob"), event(1), event(2)]))
    run(store.add_impressions([impression(1), impression(2, "bob")]))
    position = run(store.read(START, 100)).position
    opened.forget("ann")
    assert opened.user("ann") == UserPage([], [], [])
    assert run(store.shown_since("ann", 0.0)) == set()
    assert run(store.impression("list 1")) is None
    assert opened.user("bob").impressions == [impression(2, "bob")]
    assert run(store.read(position, 100)).records == [ForgottenUser("ann")]
    assert set(run(store.read(START, 100)).records) == {event(1, "bob"), ForgottenUser("ann")}
    assert run(store.append([event(2), event(3)])) == AppendResult(
        accepted=1, duplicates=1
    )  # the retry of an old event
    assert opened.user("ann").events == [event(3)]
    opened.forget("ann")
    opened.forget("ann")


def test_a_long_stream_is_read_once_and_trimmed(opened: OpenedStore) -> None:
    run, store = opened.run, opened.store
    events = [event(number, f"user {number % 7}") for number in range(3000)]
    for begin in range(0, 3000, 1000):
        run(store.append(events[begin : begin + 1000]))
    read, position = list[Record](), START
    while (page := run(store.read(position, 500))).records:
        assert len(page.records) <= 500
        assert page.position.isascii()
        assert len(page.position) < 400
        read, position = read + page.records, page.position
        if len(read) < 1000:
            run(store.trim(position))
            assert run(store.size()) == 3000 - len(read)
    assert sorted(map(repr, read)) == sorted(map(repr, events))
    for user in range(7):
        assert [one for one in read if one.user_id == f"user {user}"] == events[user::7]
    run(store.append([event(3000)]))
    run(store.trim(position))
    assert run(store.size()) == 1
    assert run(store.read(position, 16)).records == run(store.read(START, 16)).records == [event(3000)]
    assert len(run(store.history("user 1", 1000))) == 429


def test_a_user_with_a_long_stream_is_found_and_forgotten(opened: OpenedStore) -> None:
    run, store = opened.run, opened.store
    run(store.append([event(number, "ann" if number % 2 else "bob") for number in range(2500)]))
    assert len(opened.user("ann").events) == 1250
    opened.forget("ann")
    assert len(opened.user("bob").events) == 1250
    assert len(opened.user("ann").events) == 0


def test_pages_of_a_user_have_every_event_once_while_others_arrive_and_are_exported(opened: OpenedStore) -> None:
    run, store = opened.run, opened.store
    events = [event(number, "ann" if number % 3 else "bob") for number in range(15)]
    mine = [one for one in events if one.user_id == "ann"]
    run(store.append(events))
    run(store.add_impressions([impression(1)]))
    first = run(store.user("ann", START, 4))
    assert (first.events, len(first.history), first.impressions) == (mine[:4], 10, [impression(1)])
    exported = run(store.read(START, 1000)).position
    run(store.append([event(20), event(21, "bob")]))
    second = run(store.user("ann", str(first.next_after), 4))
    assert (second.events, second.history, second.impressions) == (mine[4:8], [], [])
    run(store.trim(exported))  # the next page goes on at a record that is gone
    last = UserPage([], [event(20)], [], None)
    assert run(store.user("ann", str(second.next_after), 4)) == last
    assert run(store.user("ann", str(second.next_after), 1)) == last  # a full page can be the last one


@pytest.mark.parametrize("position", ["other", "x", "-1", "1,2", "²", "٣-٣", "9" * 30])
def test_a_page_of_a_user_after_a_position_of_another_store_is_refused(opened: OpenedStore, position: str) -> None:
    if position == "other":
        position = "5" if "," in opened.run(opened.store.read(START, 16)).position else "5-5"
    with pytest.raises(ValueError, match="is no position of this event store"):
        opened.run(opened.store.user("ann", position, 4))


@pytest.mark.parametrize("position", ["other", "x", "-1", "1,2", "²", "9" * 30])
def test_a_position_of_another_store_is_refused(opened: OpenedStore, position: str) -> None:
    run, store = opened.run, opened.store
    if position == "other":
        position = "5" if "," in run(store.read(START, 16)).position else ",".join(["5-5"] * 16)
    for call in (store.read(position, 16), store.trim(position)):
        with pytest.raises(ValueError, match="is no position of this event store"):
            run(call)


def test_a_read_of_too_few_records_is_refused(opened: OpenedStore) -> None:
    with pytest.raises(ValueError, match="at least 16 records, but is 15"):
        opened.run(opened.store.read(START, 15))


def test_concurrent_calls_store_every_event_once(opened: OpenedStore) -> None:
    store = opened.store
    calls = [[event(number + shift, f"user {number % 3}") for number in range(20)] for shift in (0, 0, 0, 20, 40)]

    async def append_all() -> list[AppendResult]:
        return list(await asyncio.gather(*map(store.append, calls)))

    results = opened.run(append_all())
    stored = {(one.user_id, one.event_id) for call in calls for one in call}
    assert sum(result.accepted for result in results) == len(stored)
    assert all(result.accepted + result.duplicates == 20 for result in results)
    records = opened.run(store.read(START, 1000)).records
    assert len(records) == len(stored) == len(set(records))
