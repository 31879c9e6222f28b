from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, Counter

from rqrec.service.errors import StoreRefused, StoreUnavailable
from rqrec.service.events.event import Event, HistoryEntry, Impression
from rqrec.service.events.sqlite_store import SqliteEventStore
from rqrec.service.events.store import AppendResult, StoreLimits
from rqrec.service.users.event_rules import DEFAULT_RULES
from rqrec.service.users.metrics import UserMetrics


class SometimesAway(SqliteEventStore):
    """An event store that can be made unavailable, or damaged for some users."""

    is_away = False
    damaged: frozenset[str | None] = frozenset()  # users

    def _check(self, users: Iterable[str | None] = ()) -> None:
        if self.is_away:
            raise StoreUnavailable("the store is away")
        if self.damaged.intersection(users):
            raise StoreRefused("a value is damaged")

    async def append(self, events: Sequence[Event]) -> AppendResult:
        self._check()
        return await super().append(events)

    def history_at_once(self, user_id: str, limit: int) -> list[HistoryEntry] | None:
        return None if self.is_away else super().history_at_once(user_id, limit)

    async def histories(self, user_ids: Sequence[str], limit: int) -> list[list[HistoryEntry]]:
        self._check(user_ids)
        return await super().histories(user_ids, limit)

    async def add_impressions(self, impressions: Sequence[Impression]) -> None:
        self._check(one.user_id for one in impressions)
        await super().add_impressions(impressions)

    async def impression(self, recommendation_id: str) -> Impression | None:
        self._check()
        return await super().impression(recommendation_id)

    async def shown_since(self, user_id: str, at: float) -> set[str]:
        self._check()
        return await super().shown_since(user_id, at)


def counted(counter: Counter) -> dict[str, float]:
    """The values of a counter by its only label."""
    (family,) = counter.collect()
    return {next(iter(one.labels.values())): one.value for one in family.samples if one.name.endswith("_total")}


@pytest.fixture
def store(tmp_path: Path) -> SometimesAway:
    return SometimesAway(tmp_path / "events.sqlite", StoreLimits())


@pytest.fixture
def metrics() -> UserMetrics:
    return UserMetrics(CollectorRegistry(), DEFAULT_RULES)
