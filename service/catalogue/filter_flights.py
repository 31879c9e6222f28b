"""Filters are worked out off the event loop: each once, however many ask, and not at all when nobody waits any more."""

import asyncio
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from rqrec.models.search.eligibility import Eligibility
from rqrec.service.catalogue.filters import Filters, filter_key
from rqrec.service.contract import Condition

# A second filter may pass one that takes long; more would take the processor from the search.
THREADS = 2


@dataclass
class _Flight:
    """A filter that is being worked out, and how many requests wait for it."""

    result: "asyncio.Future[Eligibility]"
    waiting: int = 0


class FilterFlights:
    """Answers filters from the cache, else in a thread of its own (single flight)."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(THREADS, "rqrec-filter")
        self._flights: dict[tuple[Filters, bytes], _Flight] = {}

    async def eligibility(self, filters: Filters, conditions: Mapping[str, Condition]) -> Eligibility:
        """The items that meet every condition. A caller that is cancelled leaves the work to those who still wait.

        Raises:
            InvalidFilter: If the catalogue cannot answer it.
        """
        key = filter_key(conditions)
        answer = filters.cached(key)
        if answer is not None:
            return answer
        flight = self._flights.get((filters, key))
        if flight is None:
            loop = asyncio.get_running_loop()
            flight = _Flight(loop.run_in_executor(self._threads, filters.work_out, key, conditions))
            self._flights[filters, key] = flight
            flight.result.add_done_callback(lambda _: self._flights.pop((filters, key), None))
        flight.waiting += 1
        try:
            return await asyncio.shield(flight.result)
        finally:
            flight.waiting -= 1
            if not flight.waiting and not flight.result.done():
                self._flights.pop((filters, key), None)
                flight.result.cancel()  # and with it the work, where that has not begun

    def stop(self) -> None:
        """Begins nothing more."""
        self._threads.shutdown(wait=False, cancel_futures=True)
