import asyncio
import threading
from typing import Any

import pytest

from rqrec.service.catalogue.filter_flights import FilterFlights
from rqrec.service.contract.filter import Condition

CONDITIONS = {"genres": Condition.model_validate({"any_of": ["War"]})}
OTHERS = {"genres": Condition.model_validate({"any_of": ["Horror"]})}


class SlowFilters:
    """Filters that are computed when the gate opens, and that record what was computed."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.computed: list[Any] = []

    def cached(self, _key: bytes) -> None:
        return None

    def compute(self, _key: bytes, conditions: Any, _further: Any) -> Any:
        self.computed.append(conditions)
        assert self.gate.wait(10)
        return conditions


async def asked(flights: FilterFlights, filters: Any, conditions: Any, times: int) -> list[asyncio.Task[Any]]:
    tasks = [asyncio.create_task(flights.eligibility(filters, conditions)) for _ in range(times)]
    await asyncio.sleep(0.05)
    return tasks


def test_a_filter_of_many_requests_is_computed_once() -> None:
    async def scenario() -> None:
        flights, filters = FilterFlights(), SlowFilters()
        tasks = await asked(flights, filters, CONDITIONS, 12)
        tasks[0].cancel()  # the one that began it
        filters.gate.set()
        found = await asyncio.gather(*tasks[1:])
        assert found == [CONDITIONS] * 11
        assert filters.computed == [CONDITIONS]
        flights.stop()

    asyncio.run(scenario())


def test_a_filter_without_waiting_requests_is_not_computed() -> None:
    async def scenario() -> None:
        flights, filters = FilterFlights(), SlowFilters()
        busy = await asked(flights, filters, CONDITIONS, 1) + await asked(flights, filters, OTHERS, 1)
        third = {"genres": Condition.model_validate({"any_of": ["Romance"]})}
        left = await asked(flights, filters, third, 5)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        filters.gate.set()
        await asyncio.gather(*busy)
        await asyncio.sleep(0.05)
        assert filters.computed == [CONDITIONS, OTHERS]
        flights.stop()

    asyncio.run(scenario())


def test_an_invalid_filter_fails_for_all_requests() -> None:
    class NoFilters(SlowFilters):
        def compute(self, key: bytes, conditions: Any, further: Any) -> Any:
            super().compute(key, conditions, further)
            raise ValueError("no such attribute")

    async def scenario() -> None:
        flights, filters = FilterFlights(), NoFilters()
        tasks = await asked(flights, filters, CONDITIONS, 3)
        filters.gate.set()
        for task in tasks:
            with pytest.raises(ValueError, match="no such attribute"):
                await task
        flights.stop()

    asyncio.run(scenario())
