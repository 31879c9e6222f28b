import asyncio
import time
from collections.abc import Sequence
from dataclasses import replace

import pytest

from rqrec.service.errors import InvalidPart, StoreUnavailable, TooLarge
from rqrec.service.events.event import Impression
from rqrec.service.users.impressions import ImpressionBuffer
from rqrec.service.users.metrics import UserMetrics
from rqrec.service.users.shown import ShownItems, ShownLately
from tests.service.users.conftest import SometimesAway


def page(number: int, *, at: float | None = None) -> Impression:
    """Page `number` of a list of two items a page."""
    now = time.time() if at is None else at
    items, before = (f"a{number}", f"b{number}"), f"r{number - 1}" if number else None
    return Impression(f"r{number}", "u", "home", "m", "active", items, now, before)


@pytest.fixture
def buffer(store: SometimesAway, metrics: UserMetrics) -> ImpressionBuffer:
    return ImpressionBuffer(store, metrics)


@pytest.fixture
def items(store: SometimesAway, buffer: ImpressionBuffer, metrics: UserMetrics) -> ShownItems:
    return ShownItems(store, buffer, metrics, max_items=6)


def test_a_chain_of_pages_is_found_in_the_buffer_and_in_the_store(
    store: SometimesAway, buffer: ImpressionBuffer, items: ShownItems
) -> None:
    async def scenario() -> None:
        await store.add_impressions([page(0), page(1)])
        buffer.add(page(2))
        assert await items.in_pages("r2") == ["a2", "b2", "a1", "b1", "a0", "b0"]
        store.is_away = True
        with pytest.raises(StoreUnavailable):
            await items.in_pages("r2")
        store.is_away = False
        buffer.add(page(3))
        with pytest.raises(TooLarge, match="at most 6 items"):
            await items.in_pages("r3")
        await store.close()

    asyncio.run(scenario())


def test_a_chain_with_an_unknown_page_is_refused(store: SometimesAway, items: ShownItems) -> None:
    async def scenario() -> None:
        await store.add_impressions([page(1)])
        for unknown in ("r1", "r9"):
            with pytest.raises(InvalidPart, match=f"no list '{unknown}' is stored") as error:
                await items.in_pages(unknown)
            assert error.value.place == ("after",)
        await store.close()

    asyncio.run(scenario())


def test_a_page_that_another_replica_writes_meanwhile_is_found(store: SometimesAway, items: ShownItems) -> None:
    async def scenario() -> None:
        looking = asyncio.create_task(items.in_pages("r0"))
        await asyncio.sleep(0.05)
        await store.add_impressions([page(0)])
        assert await looking == ["a0", "b0"]
        await store.close()

    asyncio.run(scenario())


def test_pages_that_replicas_show_in_turn_at_once_know_all_pages_before_them(
    store: SometimesAway, metrics: UserMetrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each page follows on the other replica as soon as the one before is shown, while the disk is slow."""
    add_impressions = store.add_impressions

    async def add_slowly(impressions: Sequence[Impression]) -> None:
        await asyncio.sleep(0.06)
        await add_impressions(impressions)

    monkeypatch.setattr(store, "add_impressions", add_slowly)

    async def scenario() -> None:
        buffers = [ImpressionBuffer(store, metrics) for _ in range(2)]
        replicas = [ShownItems(store, buffer, metrics, max_items=100) for buffer in buffers]
        for buffer in buffers:
            buffer.start()
        for number in range(6):
            if number:
                before = await replicas[number % 2].in_pages(f"r{number - 1}")
                assert sorted(before) == sorted(name for n in range(number) for name in (f"a{n}", f"b{n}"))
            buffers[number % 2].add(page(number))
        for buffer in buffers:
            await buffer.stop()
        assert await store.impression("r5") is not None
        await store.close()

    asyncio.run(scenario())


def test_what_a_user_was_shown_lately(store: SometimesAway, buffer: ImpressionBuffer, items: ShownItems) -> None:
    async def scenario() -> None:
        now = time.time()
        await store.add_impressions([page(0, at=now - 100), page(1, at=now - 10)])
        buffer.add(page(2))
        assert await items.to_user("u", 50) == ShownLately({"a1", "b1", "a2", "b2"}, True)
        assert await items.to_user("other", 50) == ShownLately(set(), True)
        store.is_away = True
        assert await items.to_user("u", 50) == ShownLately({"a2", "b2"}, False)
        await store.close()

    asyncio.run(scenario())


def test_a_chain_of_empty_pages_is_not_read_without_end(store: SometimesAway, items: ShownItems) -> None:
    async def scenario() -> None:
        await store.add_impressions([replace(page(number), item_ids=()) for number in range(7)])
        assert await items.in_pages("r5") == []
        with pytest.raises(TooLarge, match="at most 6 items"):
            await items.in_pages("r6")
        await store.close()

    asyncio.run(scenario())
