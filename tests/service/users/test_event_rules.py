import pytest

from rqrec.service.errors import InvalidPart
from rqrec.service.events.event import HistoryEntry
from rqrec.service.users.event_rules import DEFAULT_RULES, EventRule, EventRules

RULES = EventRules(
    {
        "view": EventRule(),
        "purchase": EventRule(conversion=True),
        "search": EventRule(history=False),
        "dislike": EventRule(history=False, dislike=True),
        "skip": EventRule(dislike=True),
    }
)


def entries(*pairs: tuple[str, str]) -> list[HistoryEntry]:
    return [HistoryEntry(item_id, kind, float(at)) for at, (item_id, kind) in enumerate(pairs)]


def read(*pairs: tuple[str, str], exclude_types: tuple[str, ...] = ()) -> tuple[list[str], list[str]]:
    history, excluded = RULES.read(entries(*pairs), exclude_types)
    return [entry.item_id for entry in history], excluded


def test_only_types_of_the_history_enter_it() -> None:
    assert read(("a", "view"), ("b", "search"), ("c", "dislike"), ("d", "skip")) == (["a", "d"], ["c", "d"])


def test_a_disliked_item_is_left_out_until_a_later_event_that_enters_the_history() -> None:
    assert read(("a", "view"), ("a", "dislike")) == (["a"], ["a"])
    assert read(("a", "dislike"), ("a", "purchase")) == (["a"], [])
    assert read(("a", "dislike"), ("a", "search")) == ([], ["a"])
    assert read(("a", "dislike"), ("a", "skip")) == (["a"], ["a"])


def test_a_type_that_is_not_the_services_own_enters_the_history_and_ends_a_dislike() -> None:
    assert read(("a", "dislike"), ("a", "of another system")) == (["a"], [])


def test_excluded_types_leave_their_items_out() -> None:
    assert read(("a", "purchase"), ("b", "view"), ("a", "view"), exclude_types=("purchase",)) == (
        *(["a", "b", "a"], ["a"]),
    )


def test_events_are_kept_for_a_user_if_a_list_depends_on_them() -> None:
    assert RULES.stored_types == {"view", "purchase", "dislike", "skip"}
    RULES.check_exclude_types(["view", "dislike"])
    with pytest.raises(InvalidPart, match="view, purchase, dislike, skip .*got 'search'") as error:
        RULES.check_exclude_types(["view", "search"])
    assert error.value.place == ("exclude_types", "1")


def test_an_unknown_type_is_answered_with_the_known_ones() -> None:
    EventRules(DEFAULT_RULES).check_type("purchase")
    with pytest.raises(InvalidPart, match="view, click, play, cart, like, purchase, dislike.*got 'buy'"):
        EventRules(DEFAULT_RULES).check_type("buy")
    many = EventRules({f"type-{number}": EventRule() for number in range(64)})
    with pytest.raises(InvalidPart, match="type-19 and 44 more"):
        many.check_type("x" * 256)
