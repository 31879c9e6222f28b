"""The interface of the event store. There are two stores: `SqliteEventStore` and `RedisEventStore`.

A store holds four things:

- The *stream*: all events in the order in which they were accepted, until the export has read and trimmed them.
- For each user a *history*: a bounded number of entries, of which those with the latest times stay.
- *Impressions*: the lists that were shown. They expire.
- *Counts* of each trial: its impressions, and how many of them were clicked or led to a conversion. They expire.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from rqrec.service.events.event import Event, HistoryEntry, Impression, RecordPage, UserPage
from rqrec.service.outcomes.outcome_counts import OutcomeCounts, OutcomeKind

START = ""  # the position before every record of the stream
EARLY_OUTCOME_S = 3600.0  # how long an event waits for the impression that it names
LEAST_READ = 16  # records; a store may divide the stream into so many parts, and reads from each of them


@dataclass(frozen=True)
class StoreLimits:
    """How much a store keeps, and for how long.

    Attributes:
        user_history: Most entries of a user's history.
        user_ttl_s: How long a history is kept after the user's last event, in seconds.
        impression_ttl_s: How long an impression is kept, in seconds.
        user_impressions: Most impressions of a user for `shown_since`; older ones are left out.
        event_id_ttl_s: How long the id of an event is remembered, so that the same event is not stored again.
        history_types: Types of events that enter a history; None for all types.
        click_types: Types of events that are clicks on the recommendation that they name.
        conversion_types: Types of events that are conversions after the recommendation that they name.
        trial_ttl_s: How long the counts of a trial are kept after they last changed, in seconds; at least as long as an
            impression.
    """

    user_history: int = 500
    user_ttl_s: float = 180 * 86_400.0
    impression_ttl_s: float = 7 * 86_400.0
    user_impressions: int = 200
    event_id_ttl_s: float = 86_400.0
    history_types: frozenset[str] | None = None
    click_types: frozenset[str] = frozenset()
    conversion_types: frozenset[str] = frozenset()
    trial_ttl_s: float = 30 * 86_400.0

    @property
    def counts_ttl_s(self) -> float:
        """How long counts are kept after they last changed, in seconds. No impression of the trial is kept longer."""
        return max(self.trial_ttl_s, self.impression_ttl_s)

    def outcomes_of(self, event_type: str) -> list[OutcomeKind]:
        """Returns the kinds of outcomes that an event of a type is for the recommendation that it names."""
        kinds = ((OutcomeKind.CLICKS, self.click_types), (OutcomeKind.CONVERSIONS, self.conversion_types))
        return [kind for kind, types in kinds if event_type in types]

    def enters_history(self, event_type: str) -> bool:
        """Returns whether events of a type enter the history of their user."""
        return self.history_types is None or event_type in self.history_types


@dataclass(frozen=True)
class AppendResult:
    """What became of the events of one call of `EventStore.append`.

    Attributes:
        accepted: Number of events that are stored now.
        duplicates: Number of events that were stored before, or that were given twice in the call.
    """

    accepted: int
    duplicates: int


class EventStore(ABC):
    """Stores what users did and what they were shown.

    Every method raises `StoreUnavailable` if the store does not answer, and may then be called again. If only this call
    fails, for example because of a damaged value of one user, it raises the subclass `StoreRefused`. Concurrent calls
    are allowed. Cancelling a call does not undo it.
    """

    @abstractmethod
    async def append(self, events: Sequence[Event]) -> AppendResult:
        """Stores events, in this order. They are durable when this method returns.

        An event is a duplicate, and not stored, if an event of the same user with the same id was stored before, at
        most `StoreLimits.event_id_ttl_s` ago. So a call that failed can be repeated with the same events. A call
        stores all its events or none. Only in a Redis cluster a call that fails may have stored the events of some
        users.

        An event that names a recommendation is counted as an outcome of its impression, see `outcome_counts`, before
        this method returns. It may come before the impression, by up to `EARLY_OUTCOME_S`.

        Args:
            events: The events.

        Raises:
            StoreUnavailable: If the store does not answer. The events may be stored nevertheless.
        """

    async def history(self, user_id: str, limit: int) -> list[HistoryEntry]:
        """Returns the last entries of a user's history; see `histories`.

        Args:
            user_id: Id of the user.
            limit: Most entries to return, at least 1.

        Raises:
            StoreUnavailable: If the store does not answer.
        """
        (history,) = await self.histories([user_id], limit)
        return history

    @abstractmethod
    def history_at_once(self, user_id: str, limit: int) -> list[HistoryEntry] | None:
        """Returns what `history` returns, if that takes no waiting; else None.

        Args:
            user_id: Id of the user.
            limit: Most entries to return, at least 1.
        """

    @abstractmethod
    async def histories(self, user_ids: Sequence[str], limit: int) -> list[list[HistoryEntry]]:
        """Returns the last entries of users' histories, oldest first; of equal times, the one that arrived first.

        Args:
            user_ids: Ids of the users; a user who is not known has an empty history.
            limit: Most entries to return of each history, at least 1.

        Raises:
            StoreUnavailable: If the store does not answer.
        """

    @abstractmethod
    async def add_impressions(self, impressions: Sequence[Impression]) -> None:
        """Stores impressions, and counts those of a trial. They expire `StoreLimits.impression_ttl_s` after their time.

        Args:
            impressions: The impressions. One that is stored already is not stored a second time.

        Raises:
            StoreUnavailable: If the store does not answer. Some of the impressions may be stored nevertheless.
        """

    @abstractmethod
    async def impression(self, recommendation_id: str) -> Impression | None:
        """Returns the impression of a recommendation; None if it is not known or has expired.

        Args:
            recommendation_id: Id of the recommendation.

        Raises:
            StoreUnavailable: If the store does not answer.
        """

    @abstractmethod
    async def outcome_counts(self, trial: int) -> OutcomeCounts:
        """Returns what came of the impressions of a trial.

        An impression counts once, however often it was given to `add_impressions`. It counts once as clicked, and once
        as converted, however many events say so, on however many replicas. If it has a user, only events of this user
        say so.

        Args:
            trial: The trial, as in `Impression.trial`.

        Raises:
            StoreUnavailable: If the store does not answer.
        """

    @abstractmethod
    async def shown_since(self, user_id: str, at: float) -> set[str]:
        """Returns the ids of the items that a user was shown since a time, as far as impressions have not expired.

        Args:
            user_id: Id of the user.
            at: The time, in seconds since 1970; impressions of this very time count.

        Raises:
            StoreUnavailable: If the store does not answer.
        """

    @abstractmethod
    async def user(self, user_id: str, after: str, limit: int) -> UserPage:
        """Returns what is stored of a user, page by page. It takes time in proportion to the limit.

        The first page has the history and the impressions. A page has fewer events than the limit, or none, if the
        store must search the events of many other users for them; then the next page goes on with the search. All
        pages together have every event that is in the stream from the first page to the last one.

        Args:
            user_id: Id of the user.
            after: `START`, or `next_after` of the page before.
            limit: Most events of the page, at least 1.

        Raises:
            StoreUnavailable: If the store does not answer.
            ValueError: If `after` is no position of this store.
        """

    @abstractmethod
    async def forget(self, user_id: str, refused: Sequence[str] = ()) -> str:
        """Deletes the history and the impressions of a user. `drop_events` must then delete the user's events.

        Adds a `ForgottenUser` to the stream, also if nothing of the user is stored, because exported files may hold
        older events. An event that arrives afterwards belongs to a new user; one that was stored before stays a
        duplicate for as long as its id is remembered. A call that failed must be repeated.

        Args:
            user_id: Id of the user.
            refused: Ids of the user's recommendations whose impressions the store refused, and may hold in part.

        Returns:
            The position of the `ForgottenUser`, for `drop_events`.

        Raises:
            StoreUnavailable: If the store does not answer. A part may be deleted nevertheless.
        """

    @abstractmethod
    async def drop_events(self, user_id: str, position: str) -> None:
        """Deletes the events in the stream that a user had before being forgotten.

        This may search the whole stream and take seconds. Other calls run meanwhile.

        Args:
            user_id: Id of the user.
            position: What `forget` has returned.

        Raises:
            StoreUnavailable: If the store does not answer. A part may be deleted nevertheless; forget the user again.
        """

    @abstractmethod
    async def read(self, position: str, limit: int) -> RecordPage:
        """Reads the next records of the stream, for the export. Reading on from the returned position gives each once.

        The records of one user come in the order in which they were stored.

        Args:
            position: `START`, or the position that an earlier call has returned.
            limit: Most records to return, at least `LEAST_READ`.

        Raises:
            StoreUnavailable: If the store does not answer.
            ValueError: If the position is not one of this store, or the limit is too small.
        """

    @abstractmethod
    async def trim(self, position: str) -> None:
        """Deletes the records of the stream before a position. Histories and impressions stay.

        Args:
            position: A position that `read` has returned; all records before it must have been exported.

        Raises:
            StoreUnavailable: If the store does not answer. A part may be deleted nevertheless.
            ValueError: If the position is not one of this store.
        """

    @abstractmethod
    async def store_id(self) -> str:
        """Returns the random id of this store, which it keeps for as long as its data; empty before the first write.

        Raises:
            StoreUnavailable: If the store does not answer.
        """

    @abstractmethod
    async def size(self) -> int:
        """Returns how many records the stream holds. Counting ten million records may take a second.

        Raises:
            StoreUnavailable: If the store does not answer.
        """

    @abstractmethod
    async def close(self) -> None:
        """Waits for running calls, then closes files and connections. No method may be called afterwards."""


def check_read_limit(limit: int) -> None:
    """Raises ValueError if a limit of `EventStore.read` is too small."""
    if limit < LEAST_READ:
        raise ValueError(f"the limit of a read must be at least {LEAST_READ} records, but is {limit}")


def foreign_position(position: str) -> ValueError:
    """Returns the error for a position that is not one of this store."""
    return ValueError(
        f"{position[:100]!r} is no position of this event store: use one that its read() has returned, or {START!r}"
    )
