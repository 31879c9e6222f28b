from typing import Any

import pytest

from benchmarks.events.ledger import OWN_ENTRIES, Ledger


def event(number: int, user_id: str = "u", **changed: Any) -> dict[str, Any]:
    return {
        "user_id": user_id,
        "item_id": f"i{number}",
        "type": "view",
        "at": float(number),
        "event_id": f"e{number}",
        **changed,
    }


@pytest.fixture
def ledger() -> Ledger:
    """Events 1 to 3 are acknowledged. Event 4 was sent, and its answer never came."""
    ledger = Ledger()
    ledger.send(map(event, range(1, 5)))
    ledger.acknowledge(map(event, range(1, 4)))
    return ledger


def test_an_acknowledged_event_that_is_nowhere_is_lost(ledger: Ledger) -> None:
    found = ledger.compare([event(1), event(3)])
    assert (len(found.lost), found.twice, found.wrong) == (1, [], [])
    assert "e2" in found.lost[0]


@pytest.mark.parametrize("stored", [(1, 2, 3), (1, 2, 3, 4)])
def test_an_event_that_nobody_acknowledged_may_be_there_or_not(ledger: Ledger, stored: tuple[int, ...]) -> None:
    assert ledger.compare([event(number) for number in stored]) == ([], [], [])


def test_an_event_in_two_places_is_there_twice(ledger: Ledger) -> None:
    found = ledger.compare([event(1), event(2), event(3), event(2)])
    assert (found.lost, len(found.twice), found.wrong) == ([], 1, [])
    assert "e2" in found.twice[0]


@pytest.mark.parametrize("stranger", [event(9), event(1, user_id="other"), event(4, item_id="changed")])
def test_an_event_that_nobody_sent_so_is_wrong(ledger: Ledger, stranger: dict[str, Any]) -> None:
    found = ledger.compare([event(1), event(2), event(3), stranger])
    assert (found.lost, found.twice, len(found.wrong)) == ([], [], 1)


def test_an_event_that_is_acknowledged_twice_counts_once(ledger: Ledger) -> None:
    ledger.acknowledge([event(1)])
    assert len(ledger.acknowledged) == 3
    assert ledger.faults_of_history("u", [event(1), event(2), event(3)], bound=10) == []


@pytest.mark.parametrize(
    ("numbers", "fault"),
    [((1, 3), "acknowledged and missing"), ((1, 2, 2, 3), "there 2 times"), ((1, 2, 3, 9), "never sent")],
)
def test_a_history_with_a_fault_is_noticed(ledger: Ledger, numbers: tuple[int, ...], fault: str) -> None:
    (found,) = ledger.faults_of_history("u", [event(number) for number in numbers], bound=10)
    assert fault in found


def test_a_full_history_need_not_hold_older_events(ledger: Ledger) -> None:
    assert ledger.faults_of_history("u", [event(2), event(3)], bound=2) == []
    assert len(ledger.faults_of_history("u", [event(2), event(3)], bound=3)) == 1


def test_own_items_are_those_of_the_newest_events() -> None:
    ledger = Ledger()
    events = list(map(event, range(OWN_ENTRIES + 1)))
    ledger.send(events)
    ledger.acknowledge(reversed(events))
    assert ledger.own_items("u") == {f"i{number}" for number in range(1, OWN_ENTRIES + 1)}
