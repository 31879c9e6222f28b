"""Computes filters in threads: each filter once, however many requests wait for it (single flight)."""

import asyncio
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from rqrec.models.search.eligibility import Eligibility
from rqrec.service.catalogue.filter_conditions import FilterTerm
from rqrec.service.catalogue.filters import Filters, filter_key
from rqrec.service.contract.filter import Condition

# With two threads, a quick filter can overtake a slow one. More threads would take CPU time from the search.
THREADS = 2


@dataclass
class _Flight:
    """A filter that is being computed, and how many requests wait for it."""

    result: "asyncio.Future[Eligibility]"
    waiting: int = 0


class FilterFlights:
    """Finds the items that meet a filter, from the cache or by a computation in a thread.

    Requests that need the same filter at the same time share one computation.
    """

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(THREADS, "rqrec-filter")
        self._flights: dict[tuple[Filters, bytes], _Flight] = {}

    async def eligibility(
        self, filters: Filters, conditions: Mapping[str, Condition], further: Sequence[FilterTerm] = ()
    ) -> Eligibility:
        """Finds the items that meet every condition.

        If a caller is cancelled, the computation goes on for the other callers. If no caller is left, a computation
        that has not started yet is dropped.

        Args:
            filters: The filters of one state of the catalogue.
            conditions: The conditions, by the name of the attribute.
            further: Terms that the items must pass too.

        Raises:
            InvalidFilter: If an attribute is unknown, its type does not fit its condition, or the filter has too many
                values.
        """
        key = filter_key(conditions, further)
        answer = filters.cached(key)
        if answer is not None:
            return answer
        flight = self._flights.get((filters, key))
        if flight is None:
            loop = asyncio.get_running_loop()
            flight = _Flight(loop.run_in_executor(self._threads, filters.compute, key, conditions, further))
            self._flights[filters, key] = flight
            flight.result.add_done_callback(lambda _: self._flights.pop((filters, key), None))
        flight.waiting += 1
        try:
            return await asyncio.shield(flight.result)
        finally:
            flight.waiting -= 1
            if not flight.waiting and not flight.result.done():
                self._flights.pop((filters, key), None)
                flight.result.cancel()  # has an effect only if the thread has not started yet

    def stop(self) -> None:
        """Drops all computations that have not started yet. Does not wait for running ones."""
        self._threads.shutdown(wait=False, cancel_futures=True)
