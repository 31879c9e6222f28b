"""Both event stores count what came of impressions, each once."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace

import pytest

from rqrec.service.events.event import Event, Impression
from rqrec.service.events.store import StoreLimits
from rqrec.service.outcomes.outcome_counts import MAX_SURFACES, Arm, Cell, OutcomeCounts, Outcomes
from tests.service.events.opened_store import OpenedStore

NOW, TRIAL = float(round(time.time())), 1_790_000_000_000
LIMITS = StoreLimits(
    click_types=frozenset({"view", "purchase"}), conversion_types=frozenset({"purchase"}), impression_ttl_s=3600.0
)
ACTIVE = Arm("model-1", "active")


@pytest.fixture
def opened(open_store: Callable[..., OpenedStore]) -> OpenedStore:
    return open_store(LIMITS)


def impression(number: int, user_id: str | None = "ann", surface: str | None = "home") -> Impression:
    items = (f"item {number}",)
    return Impression(f"list {number}", user_id, surface, *ACTIVE, items, NOW, trial=TRIAL, bucket=7)


def event(number: int, user_id: str = "ann", kind: str = "view", event_id: str = "") -> Event:
    event_id = event_id or f"{kind} of {user_id} on {number}"
    return Event(event_id, user_id, f"item {number}", kind, NOW, recommendation_id=f"list {number}")


def counts_of(opened: OpenedStore, trial: int = TRIAL) -> OutcomeCounts:
    return opened.run(opened.store.outcome_counts(trial))


def total(opened: OpenedStore) -> Outcomes:
    counts = counts_of(opened)
    assert counts.cells.get(Cell(ACTIVE, 7), Outcomes()) == counts.total(ACTIVE)
    return counts.total(ACTIVE)


def test_a_store_without_impressions_has_no_counts(opened: OpenedStore) -> None:
    assert counts_of(opened) == OutcomeCounts({})
    opened.run(opened.store.append([event(1)]))
    opened.run(opened.store.add_impressions([replace(impression(2), trial=None)]))
    opened.run(opened.store.append([event(2)]))
    assert counts_of(opened) == counts_of(opened, 0) == OutcomeCounts({})


def test_each_impression_counts_once_for_each_outcome_however_often_it_is_said(opened: OpenedStore) -> None:
    for number in range(3):
        opened.run(opened.store.add_impressions([impression(1), impression(2), impression(1)]))
        opened.run(opened.store.append([event(1), event(1), event(1, kind="dislike", event_id=f"d{number}")]))
        opened.run(opened.store.append([event(1, event_id=f"other {number}"), event(1, kind="purchase")]))
        opened.reopen()
    assert total(opened) == Outcomes(impressions=2, clicks=1, conversions=1)


def test_counts_are_those_of_the_trial_the_model_the_role_and_the_surface(opened: OpenedStore) -> None:
    shown = [
        impression(1),
        replace(impression(2), role="canary", model_version='mo"del|2'),
        replace(impression(3), trial=TRIAL + 1),
        impression(4, surface=None),
        impression(5, surface='a "page" | ü'),
    ]
    opened.run(opened.store.add_impressions(shown))
    opened.run(opened.store.append([event(number) for number in (2, 3, 5)]))
    assert counts_of(opened).by_surface(ACTIVE) == {
        "home": Outcomes(1),
        "none": Outcomes(1),
        'a "page" | ü': Outcomes(1, clicks=1),
    }
    assert counts_of(opened).total(Arm('mo"del|2', "canary")) == Outcomes(1, clicks=1)
    assert counts_of(opened, TRIAL + 1).total(ACTIVE) == Outcomes(1, clicks=1)


def test_an_event_of_another_user_counts_only_if_the_list_has_no_user(opened: OpenedStore) -> None:
    opened.run(opened.store.append([event(1, "bob"), event(2, "bob")]))  # before their impressions
    opened.run(opened.store.add_impressions([impression(1), impression(2, None), impression(3), impression(4, None)]))
    opened.run(opened.store.append([event(3, "bob"), event(4, "bob"), event(4, "cy"), event(2, "cy")]))
    assert total(opened) == Outcomes(impressions=4, clicks=2)


def test_an_event_may_come_before_the_impression_that_it_names(opened: OpenedStore) -> None:
    opened.run(opened.store.append([event(1), event(1, "bob"), event(2, kind="purchase")]))
    assert counts_of(opened) == OutcomeCounts({})
    opened.run(opened.store.add_impressions([impression(1), impression(2), impression(3)]))
    opened.run(opened.store.append([event(1, event_id="again"), event(2, event_id="again")]))
    assert total(opened) == Outcomes(impressions=3, clicks=2, conversions=1)


def test_surfaces_beyond_the_most_share_one_name_and_keep_their_clicks(opened: OpenedStore) -> None:
    shown = [impression(number, surface=f"page {number % 40}") for number in range(80)]
    opened.run(opened.store.add_impressions(shown[:40]))
    opened.run(opened.store.add_impressions(shown[40:]))
    opened.run(opened.store.append([event(number) for number in (0, 39, 79)]))
    found = counts_of(opened).by_surface(ACTIVE)
    expected = {f"page {number}": Outcomes(2) for number in range(MAX_SURFACES)}
    assert found == {**expected, "page 0": Outcomes(2, clicks=1), "other": Outcomes(16, clicks=2)}


def test_concurrent_calls_count_every_impression_and_outcome_once(opened: OpenedStore) -> None:
    store = opened.store

    async def work() -> None:
        shown = [store.add_impressions([impression(number) for number in range(20)]) for _ in range(4)]
        said = [
            store.append([event(number, event_id=f"{number} {call}") for number in range(0, 20, 2)])
            for call in range(6)
        ]
        await asyncio.gather(*(call for pair in zip(said, shown, strict=False) for call in pair), *said[4:])

    opened.run(work())
    assert total(opened) == Outcomes(impressions=20, clicks=10)


def test_events_of_many_trials_in_one_call_count_each_in_its_own(opened: OpenedStore) -> None:
    trials = [TRIAL + number for number in range(9)]
    opened.run(opened.store.add_impressions([replace(impression(one), trial=one) for one in trials]))
    opened.reopen()
    opened.run(opened.store.append([event(one, "ann" if one > TRIAL else "bob") for one in (*trials, TRIAL + 99)]))
    clicks = [counts_of(opened, one).total(ACTIVE).clicks for one in trials]
    assert clicks == [0, *[1] * 8]
    opened.run(opened.store.append([event(one) for one in trials]))
    assert [counts_of(opened, one).total(ACTIVE) for one in trials] == [Outcomes(1, clicks=1)] * 9


def test_a_forgotten_user_leaves_counts_and_takes_the_lists_along(opened: OpenedStore) -> None:
    opened.run(opened.store.add_impressions([impression(1)]))
    opened.run(opened.store.append([event(1)]))
    opened.forget("ann")
    opened.run(opened.store.append([event(1, kind="purchase")]))
    assert total(opened) == Outcomes(impressions=1, clicks=1)


def test_counts_expire_after_they_last_changed(open_store: Callable[..., OpenedStore]) -> None:
    opened = open_store(replace(LIMITS, impression_ttl_s=1.0, trial_ttl_s=1.0))
    for number in (1, 2):
        opened.run(opened.store.add_impressions([replace(impression(number, surface=str(number)), at=time.time())]))
        time.sleep(0.6)
    assert total(opened).impressions == 2
    time.sleep(0.6)
    assert counts_of(opened) == OutcomeCounts({})
