import asyncio

import pytest

from rqrec.service.events.event import Event, HistoryEntry
from rqrec.service.users import histories as module
from rqrec.service.users.histories import Histories
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
