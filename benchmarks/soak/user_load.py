"""Users who act while the service is under load: they ask for pages, send events, are read and are forgotten."""

import itertools
import random
import threading
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

from rqrec.client import Client

KNOWN, GONE = "soak-", "gone-"
USERS, EVENTS, PAGES = 200, 20, 3
PAUSE_S = 0.02
TYPES = ("view", "view", "view", "click", "purchase", "dislike")
FAULTY = {"user_id": "soak-0", "item_id": "1", "type": "no such type"}


class UserLoad(threading.Thread):
    """One client, which is a user after the other until `stop`.

    Args:
        url: The service's address.
        token: The admin token.
        item_ids: The items that users act on.

    Attributes:
        counts: Numbers of events that were accepted (`accepted`, of users who stay), of `lists`, of `lists without the
            store`, which did not answer in time, and of users who were `forgotten`.
        fault: The error that ended the thread early; None if there is none.
    """

    def __init__(self, url: str, token: str, item_ids: Sequence[str]) -> None:
        super().__init__(name="user load", daemon=True)
        self.counts: Counter[str] = Counter(
            dict.fromkeys(("accepted", "lists", "lists without the store", "forgotten"), 0)
        )
        self.fault: Exception | None = None
        self._client = Client(url, token=token, timeout_s=30.0, retries=10)
        self._ids = item_ids
        self._rng = random.Random(0)
        self._ended = threading.Event()

    def run(self) -> None:
        """Acts until `stop` is called or a call fails."""
        try:
            with self._client:
                for number in itertools.count():
                    if self._ended.wait(PAUSE_S):
                        return
                    self._act(number)
        except Exception as error:
            self.fault = error

    def stop(self) -> None:
        """Waits until the current call has ended, and ends the thread."""
        self._ended.set()
        self.join()

    def _act(self, number: int) -> None:
        is_gone = number % 10 == 0
        user_id = f"{GONE}{number}" if is_gone else f"{KNOWN}{self._rng.randrange(USERS)}"
        pages = self._ask_for_pages(user_id)
        events: list[dict[str, Any]] = [self._event(user_id, pages) for _ in range(EVENTS)]
        reply = self._client.send_events([*events, FAULTY, *events[:2]])
        # The client repeats a call whose answer was late; then all its events are old.
        if reply.accepted not in (0, EVENTS) or reply.accepted + reply.duplicates != EVENTS + 2 or not reply.rejected:
            raise AssertionError(f"{EVENTS} new, 2 old and 1 faulty events were answered {reply}")
        if is_gone:
            if len(self._client.user(user_id).impressions) != PAGES:
                raise AssertionError(f"{user_id} was shown {PAGES} lists, but not all of them are stored")
            self._client.forget_user(user_id)
            self.counts["forgotten"] += 1
        else:
            self.counts["accepted"] += EVENTS

    def _ask_for_pages(self, user_id: str) -> list[str]:
        """Asks for some pages of one list; returns their recommendation_ids."""
        found, shown = list[str](), set[str]()
        for _ in range(PAGES):
            after = found[-1] if found else None
            reply = self._client.recommend(user_id=user_id, k=10, beam_width=20, after=after, surface="soak")
            items = {item.item_id for item in reply.items}
            if items & shown:
                raise AssertionError(f"page {len(found) + 1} of {user_id} repeats items: {reply}")
            self.counts["lists without the store"] += reply.history_source != "store"
            shown |= items
            found.append(reply.recommendation_id)
            self.counts["lists"] += 1
        return found

    def _event(self, user_id: str, pages: Sequence[str]) -> dict[str, Any]:
        return {
            "user_id": user_id,
            "item_id": self._rng.choice(self._ids),
            "type": self._rng.choice(TYPES),
            "at": time.time(),
            "event_id": f"{self._rng.getrandbits(128):032x}",
            "recommendation_id": self._rng.choice(pages),
        }
