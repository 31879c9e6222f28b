"""A client that has users forgotten, and checks again and again that nothing of them comes back."""

import itertools
import random
import time
from typing import Any

from benchmarks.chaos.caller import Caller
from benchmarks.chaos.trial_account import TrialAccount

PREFIX = "gone-"
EVENTS = 5
NOT_FOUND, UNPROCESSABLE = 404, 422


class ForgettingClient:
    """Sends events of users who are forgotten soon after.

    Args:
        caller: Sends the requests.
        account: The account of the lists that count.
        item_ids: The items that users act on.
        rng: Source of random choices.
    """

    def __init__(self, caller: Caller, account: TrialAccount, item_ids: list[str], rng: random.Random) -> None:
        self._caller = caller
        self._account = account
        self._ids = item_ids
        self._rng = rng
        self._numbers = itertools.count()
        self._gone: dict[str, list[dict[str, Any]]] = {}

    def believe_gone(self, user_id: str) -> None:
        """Treats a user as forgotten.

        Args:
            user_id: Id of the user.
        """
        self._gone[user_id] = []

    async def forget_a_user(self) -> None:
        """Sends a new user's events, asks for lists, then deletes the user until it is confirmed."""
        user_id = f"{PREFIX}{next(self._numbers)}"
        events = self._events_of(user_id)
        await self._caller.ask_until_answered("POST", "/events", json={"events": events})
        listed = await self._list(user_id)
        response = await self._caller.ask_until_answered("GET", f"/users/{user_id}")
        if not response.is_success or len(response.json()["history"]) != EVENTS:
            self._caller.fault("lost", f"{user_id} sent {EVENTS} events, but GET says {response.text[:1000]}")
        response = await self._caller.ask_until_answered("DELETE", f"/users/{user_id}")
        if not response.is_success:
            self._caller.fault("wrong", f"DELETE {user_id}: {response.status_code} {response.text}")
        self._gone[user_id] = events
        self._caller.events["users forgotten"] += 1
        await self._check_gone(user_id)
        if listed is not None:
            body = {"history": [events[0]["item_id"]], "after": listed["recommendation_id"]}
            with self._account.asking() as asked:
                page = await self._caller.ask("POST", "/recommend", json=body)
                if page is not None and page.status_code != UNPROCESSABLE:
                    asked.uncertain(page.json().get("recommendation_id", ""))
                    self._caller.fault("wrong", f"a list of the forgotten {user_id} has a next page: {page.text[:500]}")

    async def look_again(self) -> None:
        """Checks a user who was forgotten before: sends the old events again, and asks for a list."""
        if not self._gone:
            return
        user_id = self._rng.choice(list(self._gone))
        if events := self._gone[user_id]:
            response = await self._caller.ask_until_answered("POST", "/events", json={"events": events})
            if not response.is_success or response.json()["duplicates"] != len(events):
                self._caller.fault("wrong", f"old events of the forgotten {user_id}: {response.text}")
        reply = await self._list(user_id)
        if reply is not None and reply["fallback"] != "popular":
            self._caller.fault("wrong", f"the list of the forgotten {user_id} comes from a history: {reply}")
        await self._check_gone(user_id)

    async def check_all(self) -> None:
        """Checks every user who was forgotten."""
        for user_id in self._gone:
            await self._check_gone(user_id)

    async def _check_gone(self, user_id: str) -> None:
        response = await self._caller.ask_until_answered("GET", f"/users/{user_id}")
        if response.status_code == NOT_FOUND:
            return
        reply = response.json()
        if reply.get("history") != [] or reply.get("events") != []:
            self._caller.fault("wrong", f"{user_id} was forgotten, but GET says {response.text[:1000]}")

    async def _list(self, user_id: str) -> dict[str, Any] | None:
        with self._account.asking() as asked:
            body = {"user_id": user_id, "k": 5, "beam_width": 5}
            response = await self._caller.ask("POST", "/recommend", json=body, needs_store=False)
            if response is None:
                return None
            reply: dict[str, Any] = response.json()
            # Forgetting a user deletes buffered and stored lists; whether such a list was counted before is open.
            asked.uncertain(reply["recommendation_id"])
            return reply

    def _events_of(self, user_id: str) -> list[dict[str, Any]]:
        now = time.time()
        return [
            {
                "user_id": user_id,
                "item_id": self._rng.choice(self._ids),
                "type": "view",
                "at": now + place / 1000,
                "event_id": f"event-{place}",
            }
            for place in range(EVENTS)
        ]
