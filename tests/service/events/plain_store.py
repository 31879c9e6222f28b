"""A plain model of an event store: lists, and a search through them for every question."""

from collections.abc import Sequence

from rqrec.service.events.event import Event, ForgottenUser, HistoryEntry, Impression, Record
from rqrec.service.events.store import AppendResult, StoreLimits, UserData


class PlainStore:
    """What a store should hold. Nothing expires.

    Args:
        limits: How much is kept.
    """

    def __init__(self, limits: StoreLimits) -> None:
        self._limits = limits
        self._ids = set[tuple[str, str]]()
        self._histories: dict[str, list[HistoryEntry]] = {}
        self._impressions = list[Impression]()
        self.unread, self.untrimmed = list[Record](), list[Record]()  # records that were read, and not trimmed

    def append(self, events: Sequence[Event]) -> AppendResult:
        accepted = 0
        for event in events:
            if (event.user_id, event.event_id) not in self._ids:
                self._ids.add((event.user_id, event.event_id))
                self.unread.append(event)
                accepted += 1
                if self._limits.enters_history(event.type):
                    entries = [*self.history(event.user_id), HistoryEntry(event.item_id, event.type, event.at)]
                    kept = sorted(entries, key=lambda entry: entry.at)[-self._limits.user_history :]
                    self._histories[event.user_id] = kept
        return AppendResult(accepted, len(events) - accepted)

    def history(self, user_id: str) -> list[HistoryEntry]:
        return self._histories.get(user_id, [])

    def add_impressions(self, impressions: Sequence[Impression]) -> None:
        self._impressions = sorted([*self._impressions, *impressions], key=lambda one: one.at)
        for user_id in {one.user_id for one in impressions} - {None}:
            for one in self.shown(user_id)[: -self._limits.user_impressions]:
                self._impressions.remove(one)

    def impression(self, recommendation_id: str) -> Impression | None:
        return next((one for one in self._impressions if one.recommendation_id == recommendation_id), None)

    def shown(self, user_id: str | None, at: float = 0.0) -> list[Impression]:
        return [one for one in self._impressions if one.user_id == user_id and one.at >= at]

    def user(self, user_id: str) -> UserData:
        events = [one for one in (*self.untrimmed, *self.unread) if isinstance(one, Event) and one.user_id == user_id]
        return UserData(self.history(user_id), events, self.shown(user_id))

    def forget(self, user_id: str) -> int:
        found = self.user(user_id)
        self._histories.pop(user_id, None)
        for one in found.impressions:
            self._impressions.remove(one)
        for records in (self.untrimmed, self.unread):
            records[:] = [one for one in records if one not in found.events]
        self.unread.append(ForgottenUser(user_id))
        return len(found.history) + len(found.events) + len(found.impressions)

    def note_read(self, records: Sequence[Record]) -> None:
        for record in records:
            self.unread.remove(record)
        self.untrimmed += records
