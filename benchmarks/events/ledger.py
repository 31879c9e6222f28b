"""The client's own account of its events, with which the system's account is compared at the end."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

EventKey = tuple[str, str]  # user_id and event_id
OWN_ENTRIES = 200  # of the 500 stored entries of a user; events in flight may displace the older ones


class Discrepancies(NamedTuple):
    """Where the two accounts differ; each list describes single events.

    Attributes:
        lost: Acknowledged events that are neither in the exported files nor in the stream.
        twice: Events that are in the files and the stream together more than once.
        wrong: Events that no client sent, or not so; and faults of histories.
    """

    lost: list[str]
    twice: list[str]
    wrong: list[str]


@dataclass
class Ledger:
    """What the clients have sent, and what of it was acknowledged.

    Attributes:
        sent: All events as sent, by user and event id.
        acknowledged: The keys of the acknowledged events.
    """

    sent: dict[EventKey, Mapping[str, Any]] = field(default_factory=dict)
    acknowledged: set[EventKey] = field(default_factory=set)
    _of_user: defaultdict[str, list[Mapping[str, Any]]] = field(default_factory=lambda: defaultdict(list))

    def send(self, events: Iterable[Mapping[str, Any]]) -> None:
        """Notes events before they are sent: from now on the system may have them."""
        self.sent.update({key_of(event): event for event in events})

    def acknowledge(self, events: Iterable[Mapping[str, Any]]) -> None:
        """Notes that the system has answered for events: from now on it must have them."""
        for event in events:
            if (key := key_of(event)) not in self.acknowledged:
                self.acknowledged.add(key)
                self._of_user[event["user_id"]].append(event)

    def users(self) -> list[str]:
        """Returns the ids of the users who have acknowledged events."""
        return list(self._of_user)

    def own_items(self, user_id: str) -> set[str]:
        """Returns the items of a user's newest acknowledged events, which the user's history must hold."""
        events = sorted(self._of_user[user_id], key=lambda event: event["at"])
        return {event["item_id"] for event in events[-OWN_ENTRIES:]}

    def compare(self, stored: Sequence[Mapping[str, Any]]) -> Discrepancies:
        """Compares the events with those that the system has.

        Args:
            stored: The events of the exported files and of the stream; each has user_id, event_id, item_id and type.
        """
        times = Counter(map(key_of, stored))
        wrong = [f"{key_of(event)} was not sent so: {event}" for event in stored if not self._was_sent(event)]
        lost = [f"{key} is acknowledged and lost" for key in sorted(self.acknowledged - times.keys())]
        twice = [f"{key} is stored {count} times" for key, count in times.items() if count > 1]
        return Discrepancies(lost, twice, wrong)

    def faults_of_history(self, user_id: str, history: Sequence[Mapping[str, Any]], bound: int) -> list[str]:
        """Returns what is wrong with a user's stored history. The client gives each event a time of its own.

        Args:
            user_id: Id of the user.
            history: The entries of the history, oldest first; each has item_id, type and at.
            bound: Most entries of a history; those with the latest times stay.
        """
        found = Counter(map(_entry_of, history))
        sent = {_entry_of(event) for (user, _), event in self.sent.items() if user == user_id}
        oldest = history[0]["at"] if len(history) >= bound else 0.0
        missing = [event for event in self._of_user[user_id] if event["at"] >= oldest and _entry_of(event) not in found]
        return [
            *(f"history of {user_id}: {entry} is there {count} times" for entry, count in found.items() if count > 1),
            *(f"history of {user_id}: {entry} was never sent" for entry in found if entry not in sent),
            *(f"history of {user_id}: {_entry_of(event)} is acknowledged and missing" for event in missing),
        ]

    def _was_sent(self, event: Mapping[str, Any]) -> bool:
        sent = self.sent.get(key_of(event))
        return sent is not None and all(event[name] == sent[name] for name in ("item_id", "type"))


def key_of(event: Mapping[str, Any]) -> EventKey:
    """Returns what identifies an event: its user and its event id."""
    return event["user_id"], event["event_id"]


def _entry_of(event: Mapping[str, Any]) -> tuple[str, str, float]:
    return event["item_id"], event["type"], event["at"]
