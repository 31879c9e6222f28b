import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable, Sequence

import pytest

from rqrec.service.errors import StoreRefused
from rqrec.service.events.event import Impression
from rqrec.service.users import impressions as module
from rqrec.service.users.event_rules import DEFAULT_RULES, EventRules
from rqrec.service.users.impressions import ImpressionBuffer
from rqrec.service.users.metrics import UserMetrics
from rqrec.service.users.users import UserLimits, Users
from tests.service.users.conftest import SometimesAway, counted

NOW = time.time()


def shown(number: int, user_id: str | None = "u") -> Impression:
    return Impression(f"r{number}", user_id, "home", "m", "active", (f"a{number}", f"b{number}"), NOW + number)


def run(store: SometimesAway, scenario: Callable[[], Awaitable[None]]) -> None:
    async def whole() -> None:
        await scenario()
        await store.close()

    asyncio.run(whole())


def test_impressions_are_written_in_the_background(store: SometimesAway, metrics: UserMetrics) -> None:
    async def scenario() -> None:
        buffer = ImpressionBuffer(store, metrics)
        buffer.start()
        buffer.add(shown(1))
        assert buffer.find("r1") == shown(1)
        async with asyncio.timeout(10):
            while await store.impression("r1") is None:
                await asyncio.sleep(0.01)
        await buffer.stop()
        assert buffer.find("r1") is None

    run(store, scenario)
    assert counted(metrics.impressions) == {"written": 1, "dropped": 0}


def test_stopping_writes_what_is_left(
    store: SometimesAway, metrics: UserMetrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "WRITE_EVERY_S", 3600.0)

    async def scenario() -> None:
        buffer = ImpressionBuffer(store, metrics)
        buffer.start()
        for number in range(1200):
            buffer.add(shown(number))
        await buffer.stop()
        assert await store.impression("r1199") == shown(1199)

    run(store, scenario)
    assert counted(metrics.impressions) == {"written": 1200, "dropped": 0}


def test_lists_that_come_while_a_batch_is_written_wait_for_the_next_call_unless_they_fill_a_batch(
    store: SometimesAway, metrics: UserMetrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a slow disk and a busy service make batches of a few lists, one after the other without a pause."""
    coming, batches = list[int](), list[list[str]]()
    add_impressions = store.add_impressions

    async def add_slowly(impressions: Sequence[Impression]) -> None:
        batches.append([one.recommendation_id for one in impressions])
        for _ in range(coming.pop(0) if coming else 0):
            buffer.add(shown(next(numbers)))
        await add_impressions(impressions)

    numbers = itertools.count()
    monkeypatch.setattr(module, "MAX_BATCH", 4)
    monkeypatch.setattr(store, "add_impressions", add_slowly)
    buffer = ImpressionBuffer(store, metrics)

    async def scenario() -> None:
        coming.extend([3, 2, 2])  # while the first, the second, the third batch is written
        for _ in range(3):
            buffer.add(shown(next(numbers)))
        await buffer.flush()
        assert len(batches) == 1
        await buffer.flush()
        assert [len(one) for one in batches] == [3, 3]
        await buffer.flush()
        assert [len(one) for one in batches] == [3, 3, 2]
        coming.extend([5, 1])
        await buffer.flush()  # a full batch has come, but no second one
        assert [len(one) for one in batches] == [3, 3, 2, 2, 4]
        await buffer.stop()

    run(store, scenario)
    assert [name for batch in batches for name in batch] == [f"r{number}" for number in range(16)]
    assert counted(metrics.impressions) == {"written": 16, "dropped": 0}


def test_impressions_wait_for_a_store_that_is_away_and_a_full_buffer_drops(
    store: SometimesAway, metrics: UserMetrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_BUFFERED", 3)

    async def scenario() -> None:
        store.is_away = True
        buffer = ImpressionBuffer(store, metrics)
        for number in range(5):
            buffer.add(shown(number))
        assert [buffer.find(f"r{number}") is not None for number in range(5)] == [True] * 3 + [False] * 2
        assert counted(metrics.impressions) == {"written": 0, "dropped": 2}
        store.is_away = False
        await buffer.flush()
        assert await store.impression("r2") == shown(2)
        store.is_away = True
        buffer.add(shown(7))
        await buffer.stop()

    run(store, scenario)
    assert counted(metrics.impressions) == {"written": 3, "dropped": 3}


def test_an_impression_that_alone_is_refused_is_dropped_and_keeps_no_other_waiting(
    store: SometimesAway, metrics: UserMetrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "WRITE_EVERY_S", 0.001)

    async def scenario() -> None:
        buffer = ImpressionBuffer(store, metrics)
        store.damaged = frozenset({"damaged"})
        for number in range(40):
            buffer.add(shown(number, user_id="damaged" if number % 20 == 3 else "u"))
        buffer.start()
        async with asyncio.timeout(10):
            while counted(metrics.impressions) != {"written": 38, "dropped": 2}:
                await asyncio.sleep(0.01)
        await buffer.stop()
        assert await store.impression("r39") == shown(39)

    run(store, scenario)


def test_a_store_that_refuses_everything_loses_no_impression(store: SometimesAway, metrics: UserMetrics) -> None:
    async def scenario() -> None:
        buffer = ImpressionBuffer(store, metrics)
        store.damaged = frozenset({"u"})  # as a full Redis
        for number in range(5):
            buffer.add(shown(number))
        for _ in range(20):
            with pytest.raises(StoreRefused):
                await buffer.flush()
        store.damaged = frozenset()
        await buffer.flush()

    run(store, scenario)
    assert counted(metrics.impressions) == {"written": 5, "dropped": 0}


def test_a_user_can_be_forgotten_whose_impressions_are_refused(store: SometimesAway, metrics: UserMetrics) -> None:
    async def scenario() -> None:
        buffer = ImpressionBuffer(store, metrics)
        store.damaged = frozenset({"u", "other"})
        for impression in (shown(1), shown(2, user_id="other"), shown(3)):
            buffer.add(impression)
        async with buffer.forgetting("u") as refused:
            assert sorted(refused) == ["r1", "r3"]
        assert [buffer.find(f"r{number}") is not None for number in (1, 2, 3)] == [False, True, False]

    run(store, scenario)
    assert counted(metrics.impressions) == {"written": 0, "dropped": 2}


def test_lists_are_stored_while_the_many_events_of_a_forgotten_user_are_deleted(
    store: SometimesAway, metrics: UserMetrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        begun, may_end = asyncio.Event(), asyncio.Event()

        async def drop_slowly(user_id: str, position: str) -> None:
            begun.set()
            await may_end.wait()

        monkeypatch.setattr(store, "drop_events", drop_slowly)
        users = Users(store, EventRules(DEFAULT_RULES), metrics, UserLimits(100, 100, 3600.0))
        users.start()
        forgetting = asyncio.create_task(users.forget("u"))
        await begun.wait()
        users.record(shown(1, "other"))
        async with asyncio.timeout(10):
            while await store.impression("r1") is None:
                await asyncio.sleep(0.01)
        assert not forgetting.done()
        may_end.set()
        await forgetting
        await users.stop()

    asyncio.run(scenario())


def test_lists_in_the_buffer_count_as_shown_to_their_user(store: SometimesAway, metrics: UserMetrics) -> None:
    async def scenario() -> None:
        buffer = ImpressionBuffer(store, metrics)
        for impression in (shown(1), shown(2), shown(3, user_id="other"), shown(4, user_id=None)):
            buffer.add(impression)
        assert list(buffer.shown_since("u", NOW + 2)) == ["a2", "b2"]
        assert set(buffer.shown_since("u", 0.0)) == {"a1", "b1", "a2", "b2"}

    run(store, scenario)


def test_a_store_that_is_away_is_logged_in_one_line(
    store: SometimesAway, metrics: UserMetrics, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        buffer = ImpressionBuffer(store, metrics)
        buffer.start()
        store.is_away = True
        buffer.add(shown(1))
        async with asyncio.timeout(10):
            while not caplog.records:
                await asyncio.sleep(0.01)
        store.is_away = False
        await buffer.stop()

    run(store, scenario)
    (record,) = [one for one in caplog.records if one.levelname == "WARNING"]
    assert "the store is away" in record.message
    assert record.exc_info is None
