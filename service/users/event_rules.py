"""The event types of the service: the setting `event_types` says what each type does."""

from collections.abc import Collection, Mapping, Sequence
from itertools import islice
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict

from rqrec.service.errors import InvalidPart
from rqrec.service.users.entry import Entry

MAX_EVENT_TYPES = 64
MAX_NAMED_TYPES = 20


class EventRule(BaseModel):
    """What events of one type do.

    Attributes:
        history: Whether the item of such an event enters the user's history.
        dislike: Whether the user dislikes the item. It is then not recommended until a later event of another type
            that enters the history.
        conversion: Whether such an event is what a recommendation aims at, such as a purchase.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    history: bool = True
    dislike: bool = False
    conversion: bool = False


DEFAULT_RULES = {
    "view": EventRule(),
    "click": EventRule(),
    "play": EventRule(),
    "cart": EventRule(),
    "like": EventRule(),
    "purchase": EventRule(conversion=True),
    "dislike": EventRule(history=False, dislike=True),
}


class ReadEntries(NamedTuple):
    """A user's history after the rules of its event types.

    Attributes:
        history: The entries that enter the history, oldest first.
        excluded: Ids of items that must not be recommended.
    """

    history: Sequence[Entry]
    excluded: list[str]


class EventRules:
    """The rules of all event types.

    Args:
        rules: The rule of each type, by the name of the type.

    Attributes:
        stored_types: The types whose events are kept for each user: those that enter the history, and dislikes.
        click_types: The types whose events are clicks on a recommendation: those that enter the history and are no
            dislikes.
        conversion_types: The types whose events are conversions.
    """

    def __init__(self, rules: Mapping[str, EventRule]) -> None:
        self._rules = rules
        self._dislikes = frozenset(name for name, rule in rules.items() if rule.dislike)
        self._not_history = frozenset(name for name, rule in rules.items() if not rule.history)
        self._special = self._dislikes | self._not_history
        self.stored_types = frozenset(name for name, rule in rules.items() if rule.history or rule.dislike)
        self.click_types = frozenset(name for name, rule in rules.items() if rule.history and not rule.dislike)
        self.conversion_types = frozenset(name for name, rule in rules.items() if rule.conversion)

    def check_type(self, event_type: str) -> None:
        """Checks the type of an event.

        Args:
            event_type: Name of the type.

        Raises:
            InvalidPart: If the service does not know the type.
        """
        if event_type not in self._rules:
            raise InvalidPart(("type",), f"expected {_one_of(self._rules)}, got {event_type[:40]!r}")

    def check_exclude_types(self, event_types: Sequence[str]) -> None:
        """Checks that events of these types are kept for each user, so that they can exclude items.

        Args:
            event_types: Names of the types.

        Raises:
            InvalidPart: If this is not so for one of the types.
        """
        for number, event_type in enumerate(event_types):
            if event_type not in self.stored_types:
                expected = _one_of([name for name in self._rules if name in self.stored_types])
                raise InvalidPart(("exclude_types", str(number)), f"expected {expected}, got {event_type[:40]!r}")

    def read(self, entries: Sequence[Entry], exclude_types: Sequence[str]) -> ReadEntries:
        """Applies the rules to a user's entries.

        Args:
            entries: The entries, oldest first. A type that is not the service's own enters the history.
            exclude_types: Items with an entry of such a type must not be recommended.
        """
        if not exclude_types and self._special.isdisjoint({entry.type for entry in entries}):
            return ReadEntries(entries, [])
        excluded: set[str] = set()
        for entry in entries:
            if entry.type in self._dislikes:
                excluded.add(entry.item_id)
            elif excluded and entry.type not in self._not_history:
                excluded.discard(entry.item_id)
        if exclude_types:
            excluded.update(entry.item_id for entry in entries if entry.type in exclude_types)
        return ReadEntries([entry for entry in entries if entry.type not in self._not_history], sorted(excluded))


def _one_of(names: Collection[str]) -> str:
    named = ", ".join(islice(names, MAX_NAMED_TYPES))
    more = f" and {len(names) - MAX_NAMED_TYPES} more" if len(names) > MAX_NAMED_TYPES else ""
    return f"one of the event types {named}{more} (RQREC_EVENT_TYPES)"
