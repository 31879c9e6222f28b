"""Clients that send users' events and ask for lists by user, and check every answer."""

import asyncio
import itertools
import random
import time
from collections import defaultdict, deque
from dataclasses import dataclass
from typing import Any

import httpx

from benchmarks.chaos.caller import Caller
from benchmarks.chaos.trial_account import TrialAccount
from benchmarks.events.comparison import fault_of_source
from benchmarks.events.ledger import Ledger
from benchmarks.support.answer_check import AnswerCheck
from rqrec.service.users.event_rules import DEFAULT_RULES

PREFIX = "user-"
USERS, MAX_EVENTS, MAX_OLD, MAX_FAULTY = 30, 20, 3, 3
K, BEAM_WIDTH, MAX_PAGES = 10, 20, 5
SHOWN_S = 15.0  # the window of exclude_shown_s; no user gets 200 lists in it
SENT_TWICE, NAMES_A_LIST = 0.15, 0.4  # shares
TYPES = tuple(DEFAULT_RULES)
NO_CLICKS = ("dislike",)
CONVERSIONS = ("purchase",)
FAULTY: tuple[Any, ...] = (
    {"user_id": "user-0", "item_id": "1", "type": "no such type"},
    {"user_id": "user-0", "item_id": "1", "type": "view", "at": 4e10},
    {"user_id": "user-0", "type": "view"},
    {"user_id": "user-0", "item_id": "1", "type": "view", "value": "much"},
    *(True, -1, "NaN", [], [None], {}, {"": ""}),
)


@dataclass(frozen=True)
class Shown:
    """A list that a user was shown.

    Attributes:
        recommendation_id: Its id.
        at: When it was asked for, in seconds since 1970.
        item_ids: Its items.
        pages: Its items and those of all pages before it.
        num_pages: Number of these pages.
    """

    recommendation_id: str
    at: float
    item_ids: frozenset[str]
    pages: frozenset[str]
    num_pages: int


class UserClients:
    """The clients of known users.

    Args:
        caller: Sends the requests.
        check: Checks the lists.
        account: The account of the lists that count.
        item_ids: The items that users act on.
        rng: Source of random choices.

    Attributes:
        ledger: The clients' account of their events.
    """

    def __init__(
        self, caller: Caller, check: AnswerCheck, account: TrialAccount, item_ids: list[str], rng: random.Random
    ) -> None:
        self.ledger = Ledger()
        self._caller = caller
        self._check = check
        self._account = account
        self._ids = item_ids
        self._rng = rng
        self._numbers = itertools.count()
        self._shown: defaultdict[str, deque[Shown]] = defaultdict(lambda: deque(maxlen=200))
        self._old: deque[dict[str, Any]] = deque(maxlen=500)

    async def send_events(self) -> None:
        """Sends new events, some old ones and some faulty ones until they are answered; some calls go out twice."""
        new = [self._new_event(number) for number in itertools.islice(self._numbers, self._rng.randint(1, MAX_EVENTS))]
        old = self._rng.sample(self._old, min(len(self._old), self._rng.randint(0, MAX_OLD)))
        faulty = [self._rng.choice(FAULTY) for _ in range(self._rng.randint(0, MAX_FAULTY))]
        sent: list[Any] = [*new, *old, *faulty]
        self._rng.shuffle(sent)
        self.ledger.send(new)
        self._note_outcomes(new, self._account.sent)
        times = 2 if self._rng.random() < SENT_TWICE else 1
        good = len(new) + len(old)
        accepted = await asyncio.gather(*(self._send(sent, good, len(old)) for _ in range(times)))
        if sum(accepted) > len(new):
            self._caller.fault("wrong", f"{sum(accepted)} events accepted of {len(new)} that were new")
        self.ledger.acknowledge(new)
        self._note_outcomes(new, self._account.acknowledged)
        self._old += new
        self._caller.events["events acknowledged"] += len(new)
        self._caller.events["faulty events"] += len(faulty)
        self._caller.events["old events sent again"] += len(old)

    async def recommend(self) -> None:
        """Asks for a user's list, at times without what was shown lately or as the next page, and checks it."""
        if not (users := self.ledger.users()):
            return
        user_id = self._rng.choice(users)
        own, shown = self.ledger.own_items(user_id), list(self._shown[user_id])
        body: dict[str, Any] = {"user_id": user_id, "k": K, "beam_width": BEAM_WIDTH, "exclude_history": True}
        body |= {"exclude_types": ["dislike"]} | self._rng.choice(({}, {"surface": "home"}))
        before: Shown | None = None
        if (kind := self._rng.random()) < 0.3:
            body["exclude_shown_s"] = SHOWN_S
        elif kind < 0.6 and (pages := [one for one in shown if one.num_pages < MAX_PAGES]):
            before = self._rng.choice(pages)
            body["after"] = before.recommendation_id
        begin, at = time.monotonic(), time.time()
        with self._account.asking() as asked:
            response = await self._caller.ask("POST", "/recommend", json=body, needs_store=before is not None)
            if response is None:
                return
            if response.is_success:
                reply = response.json()
                asked.answered(reply["recommendation_id"])
                items = frozenset(item["item_id"] for item in reply["items"])
                chain, number = (items, 1) if before is None else (before.pages | items, before.num_pages + 1)
                self._shown[user_id].append(Shown(reply["recommendation_id"], at, items, chain, number))
        if fault := self._fault_of_list(response, own, shown if "exclude_shown_s" in body else [], before, begin):
            self._caller.fault("wrong", f"{fault}; {body} was answered {response.text[:1000]}")

    def _fault_of_list(
        self, response: httpx.Response, own: set[str], shown: list[Shown], before: Shown | None, begin: float
    ) -> str:
        if not response.is_success:
            return f"status {response.status_code}"
        reply, excluded = response.json(), set[str]()
        source = reply["history_source"]
        self._caller.events[f"lists from {source}"] += 1
        if source == "store":
            excluded |= own
        if before is not None:
            excluded |= before.pages
            self._caller.events["next pages"] += 1
        if shown and reply["fallback"] is None:  # else the store may not have answered for what was shown
            since = time.time() - SHOWN_S
            excluded |= {item_id for one in shown if one.at >= since for item_id in one.item_ids}
            self._caller.events["lists without what was shown"] += 1
        return fault_of_source(reply) or self._check.fault_of(response, sorted(excluded), K, begin)

    async def read_user(self) -> None:
        """Reads all that is stored of a user; the newest acknowledged events must be in the history."""
        if not (users := self.ledger.users()):
            return
        user_id = self._rng.choice(users)
        own = self.ledger.own_items(user_id)
        response = await self._caller.ask("GET", f"/users/{user_id}")
        if response is None:
            return
        self._caller.events["users read"] += 1
        if not response.is_success or own - {entry["item_id"] for entry in response.json()["history"]}:
            self._caller.fault("lost", f"the history of {user_id} lacks acknowledged events: {response.text[:1000]}")

    async def _send(self, events: list[Any], good: int, old: int) -> int:
        """Sends events until they are answered, and returns how many are new by the answer."""
        response = await self._caller.ask_until_answered("POST", "/events", json={"events": events})
        reply = response.json()
        is_right = (
            response.is_success
            and reply["accepted"] + reply["duplicates"] == good
            and reply["duplicates"] >= old
            and reply["num_rejected"] == len(events) - good
        )
        if not is_right:
            self._caller.fault("wrong", f"{good} good events of {events} were answered {response.text}")
        return int(reply.get("accepted", 0))

    def _new_event(self, number: int) -> dict[str, Any]:
        """A new event with a time of its own; some name a list of the user, of another user, or no list at all."""
        user_id = f"{PREFIX}{self._rng.randrange(USERS)}"
        event = {
            "user_id": user_id,
            "item_id": self._rng.choice(self._ids),
            "type": self._rng.choice(TYPES),
            "at": (int(time.time()) * 10**6 + number % 10**6) / 10**6,  # SQLite keeps microseconds
            "event_id": f"event-{number}",
        }
        if self._rng.random() < NAMES_A_LIST:
            other = self._rng.choice((user_id, user_id, f"{PREFIX}{self._rng.randrange(USERS)}"))
            lists = list(self._shown[other])[-20:]
            event["recommendation_id"] = self._rng.choice(lists).recommendation_id if lists else "no such list"
        return event

    def _note_outcomes(self, events: list[dict[str, Any]], outcomes: dict[str, set[str]]) -> None:
        """Adds the lists of which these events are outcomes. Only events of the same user are."""
        for event in events:
            name, own = event.get("recommendation_id"), self._shown[event["user_id"]]
            if name is None or all(name != one.recommendation_id for one in own):
                continue
            if event["type"] not in NO_CLICKS:
                outcomes["clicks"].add(name)
            if event["type"] in CONVERSIONS:
                outcomes["conversions"].add(name)
