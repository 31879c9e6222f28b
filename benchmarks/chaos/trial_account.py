"""The clients' own account of the lists and outcomes that must count since the models changed last."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple


class Bounds(NamedTuple):
    """How many impressions, clicks and conversions the service must have counted at least, and may at most."""

    impressions: int
    clicks: int
    conversions: int

    def exceeds(self, other: "Bounds") -> bool:
        """Whether one of the three numbers is larger than in `other`."""
        return any(own > its for own, its in zip(self, other, strict=True))


@dataclass
class Asked:
    """A request for a list that is stored as shown.

    Attributes:
        account: The account to which it belongs.
        change: The number of changes of the models that had begun when it was sent.
        is_certain: Whether no change was under way when it was sent.
    """

    account: "TrialAccount"
    change: int
    is_certain: bool

    def answered(self, recommendation_id: str) -> None:
        """Notes the list. It counts for certain if no change began between the request and the answer."""
        is_certain = self.is_certain and self.change == self.account.changes
        (self.account.certain if is_certain else self.account.possible).add(recommendation_id)

    def uncertain(self, recommendation_id: str) -> None:
        """Notes a list that may count or not."""
        self.account.possible.add(recommendation_id)


@dataclass
class TrialAccount:
    """The lists since the models changed last, and their clicks and conversions.

    A list that was asked for or answered during a change may count for the trial before or after it.

    Attributes:
        certain: The lists that count in the present trial.
        possible: The lists that may count.
        changes: Number of changes of the models that have begun.
        sent: By kind of outcome, the recommendations that an event of it named when it was sent.
        acknowledged: By kind of outcome, the recommendations of which the service has acknowledged such an event.
    """

    certain: set[str] = field(default_factory=set)
    possible: set[str] = field(default_factory=set)
    changes: int = 0
    sent: dict[str, set[str]] = field(default_factory=lambda: {"clicks": set(), "conversions": set()})
    acknowledged: dict[str, set[str]] = field(default_factory=lambda: {"clicks": set(), "conversions": set()})
    _open: int = 0
    _is_changing: bool = False

    @contextmanager
    def asking(self) -> Iterator[Asked]:
        """Surrounds a request for a list that is stored as shown."""
        self._open += 1
        try:
            yield Asked(self, self.changes, not self._is_changing)
        finally:
            self._open -= 1

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Surrounds a change of the models, with which a new trial begins."""
        self.changes += 1
        self._is_changing = True
        self.certain, self.possible = set(), set()
        try:
            yield
        finally:
            self._is_changing = False

    def least(self) -> Bounds:
        """Returns what the service must have counted, once it has written what it has buffered."""
        clicks, conversions = (len(self.certain & self.acknowledged[kind]) for kind in ("clicks", "conversions"))
        return Bounds(len(self.certain), clicks, conversions)

    def most(self) -> Bounds:
        """Returns what the service may have counted at most, requests that are under way included."""
        known = self.certain | self.possible
        clicks, conversions = (len(known & self.sent[kind]) for kind in ("clicks", "conversions"))
        return Bounds(len(known) + self._open, clicks, conversions)


def counted_of(outcomes: Mapping[str, Any]) -> Bounds:
    """Returns the counts of an `OutcomesReply`."""
    return Bounds(outcomes["impressions"], outcomes["clicks"]["count"], outcomes["conversions"]["count"])
