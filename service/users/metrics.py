"""The Prometheus metrics of events and users. No label takes the id of a user or an item."""

import time
from collections.abc import Awaitable, Collection
from typing import TypeVar

from prometheus_client import CollectorRegistry, Counter, Histogram

from rqrec.service.errors import StoreUnavailable
from rqrec.service.telemetry import SECONDS_BUCKETS

OPERATIONS = ("append", "histories", "add_impressions", "impression", "shown_since", "user", "forget", "drop_events")
SOURCES = ("store", "memory", "none")
ResultT = TypeVar("ResultT")


class UserMetrics:
    """The metrics of events, impressions and stored histories.

    Args:
        registry: The registry of the app's metrics.
        event_types: The event types of the service.
    """

    def __init__(self, registry: CollectorRegistry, event_types: Collection[str]) -> None:
        self.events = Counter(
            "rqrec_events_total",
            "Events of POST /events: accepted (stored now), duplicate (stored before), rejected (faulty).",
            ["result"],
            registry=registry,
        )
        self.event_types = Counter(
            "rqrec_events_by_type_total",
            "Events that were accepted or duplicates, by event type.",
            ["type"],
            registry=registry,
        )
        self.impressions = Counter(
            "rqrec_impressions_total",
            "Lists that were shown: written to the event store, or dropped because the store did not take them.",
            ["result"],
            registry=registry,
        )
        self.histories = Counter(
            "rqrec_stored_histories_total",
            "Stored histories for recommendations, by their source: store, memory (the store did not answer, and this "
            "replica had read the history before), none (it had not).",
            ["source"],
            registry=registry,
        )
        seconds = Histogram(
            "rqrec_event_store_duration_seconds",
            "Time of a call of the event store.",
            ["operation"],
            buckets=SECONDS_BUCKETS,
            registry=registry,
        )
        self._errors = Counter(
            "rqrec_event_store_errors_total", "Failed calls of the event store.", ["operation"], registry=registry
        )
        self._sources = {source: self.histories.labels(source) for source in SOURCES}
        self._seconds = {operation: seconds.labels(operation) for operation in OPERATIONS}
        self._start_at_zero(event_types)

    async def timed(self, operation: str, call: Awaitable[ResultT]) -> ResultT:
        """Awaits a call of the event store, and measures its time or counts its failure.

        Args:
            operation: Name of the method of `EventStore`.
            call: The call.

        Returns:
            The result of the call.

        Raises:
            StoreUnavailable: If the call raises it.
        """
        begin = time.perf_counter()
        try:
            result = await call
        except StoreUnavailable:
            self._errors.labels(operation).inc()
            raise
        self.observe(operation, time.perf_counter() - begin)
        return result

    def observe(self, operation: str, seconds: float) -> None:
        """Notes how long a call of the event store took.

        Args:
            operation: Name of the method of `EventStore`.
            seconds: How long it took.
        """
        self._seconds[operation].observe(seconds)

    def count_history(self, source: str) -> None:
        """Counts a stored history.

        Args:
            source: Where it comes from, one of SOURCES.
        """
        self._sources[source].inc()

    def _start_at_zero(self, event_types: Collection[str]) -> None:
        """Makes all labels appear with 0: Prometheus sees no increase in a counter that first appears with 1."""
        for counter, values in (
            (self.event_types, event_types),
            (self.events, ("accepted", "duplicate", "rejected")),
            (self.impressions, ("written", "dropped")),
            (self.histories, SOURCES),
            (self._errors, OPERATIONS),
        ):
            for value in values:
                counter.labels(value)
