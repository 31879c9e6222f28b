"""Finds the items that were shown before, so that a list does not show them again."""

import asyncio
import time
from typing import NamedTuple

from rqrec.service.errors import InvalidPart, StoreUnavailable, TooLarge
from rqrec.service.events.event import Impression
from rqrec.service.events.store import EventStore
from rqrec.service.users.impressions import WRITE_EVERY_S, ImpressionBuffer
from rqrec.service.users.metrics import UserMetrics

LOOKS_AGAIN = 3  # a list waits for a batch that is being written, for the pause after it, and for its own batch


class ShownLately(NamedTuple):
    """The items that a user was shown lately.

    Attributes:
        item_ids: Ids of the items.
        is_complete: Whether the event store has answered. If not, these are only the items of the last lists of this
            replica.
    """

    item_ids: set[str]
    is_complete: bool


class ShownItems:
    """Finds the items that were shown before, in the buffer of this replica and in the event store.

    Args:
        store: The event store.
        buffer: The impressions of this replica that are not in the store yet.
        metrics: Measures the calls of the store.
        max_items: Most items of all pages of a chain; an empty page counts as one, because reading it takes as long.
    """

    def __init__(self, store: EventStore, buffer: ImpressionBuffer, metrics: UserMetrics, *, max_items: int) -> None:
        self._store = store
        self._buffer = buffer
        self._metrics = metrics
        self._max_items = max_items

    async def to_user(self, user_id: str, within_s: float) -> ShownLately:
        """Returns the items that a user was shown lately.

        Args:
            user_id: Id of the user.
            within_s: Number of seconds before now that count.
        """
        since = time.time() - within_s
        buffered = set(self._buffer.shown_since(user_id, since))
        try:
            stored = await self._metrics.timed("shown_since", self._store.shown_since(user_id, since))
        except StoreUnavailable:
            return ShownLately(buffered, False)
        return ShownLately(buffered | stored, True)

    async def in_pages(self, recommendation_id: str) -> list[str]:
        """Returns the ids of the items of a page and of all pages before it.

        Args:
            recommendation_id: The recommendation of the last page.

        Raises:
            InvalidPart: If one of the pages is not known, or has expired.
            TooLarge: If the pages have too many items.
            StoreUnavailable: If the event store does not answer.
        """
        items, num_empty, page = list[str](), 0, await self._find_on_any_replica(recommendation_id)
        while page is not None:
            items += page.item_ids
            num_empty += not page.item_ids
            if len(items) + num_empty > self._max_items:
                raise TooLarge(
                    f"after: the pages before may have at most {self._max_items} items, where an empty page counts as "
                    "one: begin a new list"
                )
            if page.after is None:
                return items
            page = await self._find(page.after)
        raise InvalidPart(
            ("after",),
            f"no list {recommendation_id!r} is stored, or one of its pages has expired: expected the recommendation_id "
            "of a reply to a request with a user_id, a surface or an `after`",
        )

    async def _find_on_any_replica(self, recommendation_id: str) -> Impression | None:
        """An impression. Another replica may still have it in its buffer, so looks again."""
        found = await self._find(recommendation_id)
        for _ in range(LOOKS_AGAIN):
            if found is not None:
                break
            await asyncio.sleep(WRITE_EVERY_S)
            found = await self._find(recommendation_id)
        return found

    async def _find(self, recommendation_id: str) -> Impression | None:
        if (buffered := self._buffer.find(recommendation_id)) is not None:
            return buffered
        return await self._metrics.timed("impression", self._store.impression(recommendation_id))
