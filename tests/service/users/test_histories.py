import asyncio
from collections.abc import Sequence

import pytest

from rqrec.service.events.event import Event, HistoryEntry
from rqrec.service.users import histories as module
from rqrec.service.users.histories import Histories, StoredHistory
from rqrec.service.users.metrics import UserMetrics
from tests.service.users.conftest import SometimesAway, counted

ENTRY = HistoryEntry("a", "view", 5.0)


def test_while_the_store_is_away_the_last_known_history_is_taken(store: SometimesAway, metrics: UserMetrics) -> None:
    async def scenario() -> None:
        histories = Histories(store, metrics, max_entries=10)
        await store.append([Event("e", "u", "a", "view", 5.0)])
        assert await histories.read("u") == ([ENTRY], "store")
        assert await histories.read("stranger") == ([], "store")
        store.is_away = True
        assert await histories.read("u") == ([ENTRY], "memory")
        assert await histories.read("stranger") == ([], "memory")
        assert await histories.read("another") == ((), "none")
        histories.forget("u")
        assert await histories.read("u") == ((), "none")
        store.is_away = False
        assert await histories.read("u") == ([ENTRY], "store")
        await store.close()

    asyncio.run(scenario())
    assert counted(metrics.histories) == {"store": 3, "memory": 2, "none": 2}


def test_a_history_is_not_remembered_for_long(
    store: SometimesAway, metrics: UserMetrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "REMEMBERED_S", 0.0)

    async def scenario() -> None:
        histories = Histories(store, metrics, max_entries=10)
        await histories.read("u")
        store.is_away = True
        assert await histories.read("u") == ((), "none")
        await store.close()

    asyncio.run(scenario())


def test_the_memory_is_bounded_by_entries(
    store: SometimesAway, metrics: UserMetrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "REMEMBERED_ENTRIES", 7)

    async def scenario() -> list[str]:
        histories = Histories(store, metrics, max_entries=10)
        for user in "abcd":
            await store.append([Event(f"{n}", user, f"{n}", "view", float(n)) for n in range(2)])
            await histories.read(user)
        store.is_away = True
        found = [(await histories.read(user)).source for user in "abcd"]
        await store.close()
        return [str(one) for one in found]

    assert asyncio.run(scenario()) == ["none", "none", "memory", "memory"]


def test_requests_that_wait_together_are_answered_by_one_call(
    store: SometimesAway, metrics: UserMetrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = list[int]()
    histories_of = store.histories

    async def histories(user_ids: Sequence[str], limit: int) -> list[list[HistoryEntry]]:
        calls.append(len(user_ids))
        return await histories_of(user_ids, limit)

    monkeypatch.setattr(store, "histories", histories)
    monkeypatch.setattr(store, "history_at_once", lambda *_: None)

    async def scenario() -> None:
        reader = Histories(store, metrics, max_entries=10)
        await store.append([Event(f"{n}", f"u{n}", f"{n}", "view", float(n)) for n in range(100)])
        reading = [asyncio.create_task(reader.read(f"u{n}")) for n in range(100)]
        await asyncio.sleep(0)
        reading[5].cancel()
        found = await asyncio.gather(*reading, return_exceptions=True)
        assert isinstance(found.pop(5), asyncio.CancelledError)
        assert [one.entries[0].item_id for one in found if isinstance(one, StoredHistory)] == [
            f"{n}" for n in range(100) if n != 5
        ]
        await store.close()

    asyncio.run(scenario())
    assert calls == [1, 64, 35]


def test_a_damaged_history_does_not_hide_those_of_other_users(
    store: SometimesAway, metrics: UserMetrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "history_at_once", lambda *_: None)

    async def scenario() -> None:
        reader = Histories(store, metrics, max_entries=10)
        await store.append([Event("e", f"u{n}", "a", "view", 5.0) for n in range(20)])
        store.damaged = frozenset({"u7"})
        found = await asyncio.gather(*(reader.read(f"u{n}") for n in range(20)))
        assert found.pop(7) == ((), "none")
        assert found == [([ENTRY], "store")] * 19
        await store.close()

    asyncio.run(scenario())


def test_failures_of_reading_are_logged_in_one_line_a_minute(
    store: SometimesAway, metrics: UserMetrics, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        histories = Histories(store, metrics, max_entries=10)
        store.is_away = True
        for _ in range(3):
            await histories.read("ann")
        assert len(caplog.records) == 1
        monkeypatch.setattr(histories, "_log_from", 0.0)  # a minute later
        await histories.read("ann")
        await store.close()

    asyncio.run(scenario())
    assert [record.message for record in caplog.records] == [
        "users' histories cannot be read from the event store: the store is away"
    ] * 2
