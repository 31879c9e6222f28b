from typing import Any

import pytest

from rqrec.service.events.event import Event
from rqrec.service.users.event_rules import DEFAULT_RULES, EventRules
from rqrec.service.users.intake import CheckedEvents, check_events

NOW = 1_700_000_000.0
VIEW = {"user_id": "u", "item_id": "a", "type": "view"}


def check(*events: Any) -> CheckedEvents:
    return check_events(events, EventRules(DEFAULT_RULES), now=NOW)


def test_a_good_event_is_taken_as_it_is() -> None:
    fields = {**VIEW, "event_id": "e", "at": 1.5, "value": 3, "recommendation_id": "r"}
    assert check(fields) == ([Event("e", "u", "a", "view", 1.5, 3.0, "r")], 0, [])


def test_an_event_without_time_and_id_gets_the_present_time_and_an_id_of_its_own() -> None:
    one, other = check(VIEW, VIEW).events
    assert one.at == other.at == NOW
    assert one.event_id != other.event_id


@pytest.mark.parametrize(
    ("at", "seconds"),
    [
        (0, 0.0),
        ("2023-11-14T22:13:20Z", NOW),
        ("2023-11-14t23:13:20.5+01:00", NOW + 0.5),
        (NOW + 86_000, NOW + 86_000),
    ],
)
def test_times_are_seconds_or_rfc_3339(at: object, seconds: float) -> None:
    assert [event.at for event in check({**VIEW, "at": at}).events] == [seconds]


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"at": NOW + 86_500}, ("at",)),
        ({"at": NOW * 1000}, ("at",)),
        ({"at": -1}, ("at",)),
        ({"at": float("inf")}, ("at",)),
        ({"at": True}, ("at",)),
        ({"at": "2023-11-14T22:13:20"}, ("at",)),
        ({"at": "2023-11-14"}, ("at",)),
        ({"at": "2023-13-14T22:13:20Z"}, ("at",)),
        ({"at": "1700000000"}, ("at",)),
        ({"type": "buy"}, ("type",)),
        ({"type": None}, ("type",)),
        ({"user_id": ""}, ("user_id",)),
        ({"user_id": 5}, ("user_id",)),
        ({"user_id": "a\nb"}, ("user_id",)),
        ({"user_id": "."}, ("user_id",)),
        ({"user_id": ".."}, ("user_id",)),
        ({"item_id": "x" * 257}, ("item_id",)),
        ({"item_id": "a\nb"}, ("item_id",)),
        ({"item_id": "\u00a0"}, ("item_id",)),
        ({"value": float("nan")}, ("value",)),
        ({"event_id": ""}, ("event_id",)),
        ({"recommendation_id": "x" * 65}, ("recommendation_id",)),
        ({"surprise": 1}, ("surprise",)),
    ],
)
def test_a_faulty_event_is_named_and_the_others_are_kept(change: dict[str, object], place: tuple[str, ...]) -> None:
    checked = check(VIEW, {**VIEW, **change}, VIEW)
    assert len(checked.events) == 2
    assert checked.num_rejected == 1
    assert [(fault.index, fault.place) for fault in checked.faults] == [(1, place)]


@pytest.mark.parametrize("user_id", ["...", "..a", ".a", "a.", "a/../b", "/", " ", "%2e"])
def test_a_user_id_that_a_path_can_hold_is_taken(user_id: str) -> None:
    assert [event.user_id for event in check({**VIEW, "user_id": user_id}).events] == [user_id]


@pytest.mark.parametrize("event", [None, 5, "view", [], [VIEW]])
def test_what_is_no_object_is_a_fault(event: object) -> None:
    detail = f"expected an object with fields such as user_id, item_id, type, at, got {type(event).__name__}"
    assert [(fault.index, fault.place, fault.detail) for fault in check(event).faults] == [(0, (), detail)]


@pytest.mark.parametrize(
    "at", ["2026-02-30T12:00:00Z", "2026-01-31T12:00:00+99:99", "2026-01-31T23:59:60Z", "0000-01-01T00:00:00Z", "now"]
)
def test_the_fault_of_a_time_says_what_was_expected_and_what_came(at: str) -> None:
    (fault,) = check({**VIEW, "at": at}).faults
    assert fault.detail == f"expected seconds since 1970 or a time such as 2026-01-31T12:00:00Z, got {at!r}"


@pytest.mark.parametrize("at", [NOW * 1000, 10**30, 1e308])
def test_a_time_in_milliseconds_is_named_in_few_words(at: float) -> None:
    (fault,) = check({**VIEW, "at": at}).faults
    assert fault.detail == f"expected seconds since 1970, not milliseconds, and at most 253402300799, got {at!r}"


def test_twenty_faults_are_named_and_the_rest_is_counted() -> None:
    checked = check(*[{}] * 500, VIEW, *[{**VIEW, "type": "buy"}] * 499)
    assert (len(checked.events), checked.num_rejected, len(checked.faults)) == (1, 999, 20)
    assert checked.faults[2].place == ("type",)
