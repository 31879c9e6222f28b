"""A plain model of an event store: lists, and a search through them for every question."""

from collections.abc import Sequence

from rqrec.service.events.event import Event, ForgottenUser, HistoryEntry, Impression, Record, UserPage
from rqrec.service.events.store import AppendResult, StoreLimits
from rqrec.service.outcomes.outcome_counts import Arm, Cell, OutcomeCounts, OutcomeKind, Outcomes


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
        self._named = set[tuple[str, str, OutcomeKind]]()  # outcomes: recommendation, user, kind
        self._counted = dict[str, tuple[Impression, set[OutcomeKind]]]()  # what came of each impression, by its name
        self.unread, self.untrimmed = list[Record](), list[Record]()  # records that were read, and not trimmed

    def append(self, events: Sequence[Event]) -> AppendResult:
        accepted = 0
        for event in events:
            for kind in self._limits.outcomes_of(event.type) if event.recommendation_id else ():
                self._named.add((str(event.recommendation_id), event.user_id, kind))
            if (event.user_id, event.event_id) not in self._ids:
                self._ids.add((event.user_id, event.event_id))
                self.unread.append(event)
                accepted += 1
                if self._limits.enters_history(event.type):
                    entries = [*self.history(event.user_id), HistoryEntry(event.item_id, event.type, event.at)]
                    kept = sorted(entries, key=lambda entry: entry.at)[-self._limits.user_history :]
                    self._histories[event.user_id] = kept
        self._count([one.recommendation_id for one in self._impressions])
        return AppendResult(accepted, len(events) - accepted)

    def history(self, user_id: str) -> list[HistoryEntry]:
        return self._histories.get(user_id, [])

    def add_impressions(self, impressions: Sequence[Impression]) -> None:
        self._impressions = sorted([*self._impressions, *impressions], key=lambda one: one.at)
        self._counted |= {one.recommendation_id: (one, set()) for one in impressions if one.trial is not None}
        self._count([one.recommendation_id for one in impressions])
        for user_id in {one.user_id for one in impressions} - {None}:
            for one in self.shown(user_id)[: -self._limits.user_impressions]:
                self._impressions.remove(one)

    def impression(self, recommendation_id: str) -> Impression | None:
        return next((one for one in self._impressions if one.recommendation_id == recommendation_id), None)

    def outcome_counts(self, trial: int) -> OutcomeCounts:
        cells = list[tuple[Cell, Outcomes]]()
        for one, kinds in self._counted.values():
            if one.trial == trial:
                found = Outcomes(1, OutcomeKind.CLICKS in kinds, OutcomeKind.CONVERSIONS in kinds)
                cells += [
                    (Cell(Arm(one.model_version, one.role), part), found)
                    for part in (one.surface or "none", one.bucket)
                ]
        return OutcomeCounts.merged(cells)

    def _count(self, stored: Sequence[str]) -> None:
        """Looks for outcomes of impressions that are stored."""
        for name, user_id, kind in self._named:
            if name in stored and name in self._counted:
                impression, kinds = self._counted[name]
                if impression.user_id in {None, user_id}:
                    kinds.add(kind)

    def shown(self, user_id: str | None, at: float = 0.0) -> list[Impression]:
        return [one for one in self._impressions if one.user_id == user_id and one.at >= at]

    def user(self, user_id: str) -> UserPage:
        events = [one for one in (*self.untrimmed, *self.unread) if isinstance(one, Event) and one.user_id == user_id]
        return UserPage(self.history(user_id), events, self.shown(user_id))

    def forget(self, user_id: str) -> None:
        found = self.user(user_id)
        self._histories.pop(user_id, None)
        for one in found.impressions:
            self._impressions.remove(one)
        for records in (self.untrimmed, self.unread):
            records[:] = [one for one in records if one not in found.events]
        self.unread.append(ForgottenUser(user_id))

    def note_read(self, records: Sequence[Record]) -> None:
        for record in records:
            self.unread.remove(record)
        self.untrimmed += records
