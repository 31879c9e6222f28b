"""What the service knows of its users: stores their events, and gives recommendations their histories."""

import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import NamedTuple

from rqrec.service.contract.recommend import HistoryEntry, RecommendRequest
from rqrec.service.errors import InvalidPart, StoreRefused, UnknownUser
from rqrec.service.events.event import Impression, UserPage
from rqrec.service.events.store import START, AppendResult, EventStore
from rqrec.service.users.entry import Entry
from rqrec.service.users.event_rules import EventRules
from rqrec.service.users.histories import Histories, Source
from rqrec.service.users.impressions import ImpressionBuffer
from rqrec.service.users.intake import CheckedEvents, check_events
from rqrec.service.users.metrics import UserMetrics
from rqrec.service.users.shown import ShownItems


@dataclass(frozen=True)
class UserLimits:
    """Limits of what is read of a user.

    Attributes:
        max_history_items: Most items of the stored history and the history of the request together; the newest count.
            Also the most items of all pages that a request with `after` leaves out.
        user_history: Most entries of a stored history.
        impression_ttl_s: How long impressions are stored, in seconds.
    """

    max_history_items: int
    user_history: int
    impression_ttl_s: float


class Profile(NamedTuple):
    """What a recommendation reads of its user.

    Attributes:
        history: The history, oldest first: either only item ids, or only entries.
        exclude: Ids of items that must not be recommended.
        source: Where the stored history comes from; None if the request names no user.
        is_complete: Whether the event store has answered all questions.
    """

    history: Sequence[str | Entry]
    exclude: Sequence[str]
    source: Source | None = None
    is_complete: bool = True


class Users:
    """Stores what users do and what they are shown, and reads it for recommendations.

    Args:
        store: The event store.
        rules: The event types of the service.
        metrics: The metrics of events and users.
        limits: Limits of what is read of a user.
    """

    def __init__(self, store: EventStore, rules: EventRules, metrics: UserMetrics, limits: UserLimits) -> None:
        self._store = store
        self._rules = rules
        self._metrics = metrics
        self._limits = limits
        self._histories = Histories(store, metrics, max_entries=limits.user_history)
        self._impressions = ImpressionBuffer(store, metrics)
        self._shown = ShownItems(store, self._impressions, metrics, max_items=limits.max_history_items)

    def start(self) -> None:
        """Starts to write impressions in the background."""
        self._impressions.start()

    async def stop(self) -> None:
        """Writes the last impressions and closes the event store."""
        await self._impressions.stop()
        await self._store.close()

    def check(self, events: Sequence[object]) -> CheckedEvents:
        """Checks the events of a request one by one; each should be the fields of a `UserEvent`."""
        return check_events(events, self._rules, now=time.time())

    async def append(self, checked: CheckedEvents) -> AppendResult:
        """Stores the good events of a request. They are durable when this method returns.

        Args:
            checked: The events of the request after their check.

        Raises:
            StoreUnavailable: If the event store does not answer.
        """
        result = AppendResult(0, 0)
        if checked.events:
            result = await self._metrics.timed("append", self._store.append(checked.events))
        for name, count in (
            ("accepted", result.accepted),
            ("duplicate", result.duplicates),
            ("rejected", checked.num_rejected),
        ):
            self._metrics.events.labels(name).inc(count)
        for event in checked.events:
            self._metrics.event_types.labels(event.type).inc()
        return result

    async def profile(self, request: RecommendRequest) -> Profile:
        """Returns the history and the exclusions of a request, together with what is stored of its user.

        If the event store does not answer, the history is what this replica has read before, or only that of the
        request. But a page needs the pages before it.

        Args:
            request: The request.

        Raises:
            InvalidPart: If `exclude_types`, `exclude_shown_s` or `after` is invalid.
            TooLarge: If the pages before this one have too many items.
            StoreUnavailable: If the pages before this one cannot be read.
        """
        self._check(request)
        exclude = list(request.exclude)
        if request.after is not None:
            exclude += await self._shown.in_pages(request.after)
        if request.user_id is None:
            return Profile(request.history, exclude)
        stored, source = await self._histories.read(request.user_id)
        is_complete = source == "store"
        if request.exclude_shown_s is not None:
            shown = await self._shown.to_user(request.user_id, request.exclude_shown_s)
            exclude += shown.item_ids
            is_complete = is_complete and shown.is_complete
        given = [HistoryEntry(item_id=one) if isinstance(one, str) else one for one in request.history]
        read = self._rules.read([*stored, *given], request.exclude_types)
        history = read.history[-self._limits.max_history_items :]
        return Profile(history, [*exclude, *read.excluded], source, is_complete)

    def record(self, impression: Impression) -> None:
        """Remembers a list that was shown. It is stored a moment later."""
        self._impressions.add(impression)

    async def page(self, user_id: str, after: str, limit: int) -> UserPage:
        """Returns what is stored of a user, page by page; see `EventStore.user`.

        Args:
            user_id: Id of the user.
            after: `START`, or `next_after` of the page before.
            limit: Most events of the page, at least 1.

        Raises:
            UnknownUser: If the first page is the last one, and nothing is stored.
            InvalidPart: If `after` is no position of the event store.
            StoreUnavailable: If the event store does not answer.
        """
        if after == START:
            with suppress(StoreRefused):  # because of an impression of another user
                await self._impressions.flush()
        try:
            page = await self._metrics.timed("user", self._store.user(user_id, after, limit))
        except ValueError as error:
            raise InvalidPart(("after",), f"expected the next_after of the page before, got {after!r}") from error
        if after == START and page == UserPage([], [], []):
            raise UnknownUser("nothing is stored of this user")
        return page

    async def forget(self, user_id: str) -> None:
        """Deletes all that is stored of a user. Events that arrive afterwards belong to a new user.

        Args:
            user_id: Id of the user.

        Raises:
            StoreUnavailable: If the event store does not answer. A part may be deleted; call it again.
        """
        self._histories.forget(user_id)
        async with self._impressions.forgetting(user_id) as refused:
            position = await self._metrics.timed("forget", self._store.forget(user_id, refused))
        self._histories.forget(user_id)  # a request may have read it meanwhile
        await self._metrics.timed("drop_events", self._store.drop_events(user_id, position))

    def _check(self, request: RecommendRequest) -> None:
        if request.exclude_types:
            self._rules.check_exclude_types(request.exclude_types)
        longest_s = self._limits.impression_ttl_s
        if request.exclude_shown_s is not None and request.exclude_shown_s > longest_s:
            raise InvalidPart(
                ("exclude_shown_s",),
                f"expected at most {longest_s:g} (RQREC_IMPRESSION_TTL_S), got {request.exclude_shown_s:g}",
            )
