"""Clients that send events, write items and ask for recommendations, and check every answer."""

import asyncio
import itertools
import json
import random
import time
from collections import Counter
from typing import Any

import httpx

from benchmarks.events.comparison import fault_of_source
from benchmarks.events.durability.system import System
from benchmarks.events.ledger import Ledger
from benchmarks.support.answer_check import AnswerCheck, Written
from rqrec.models.bundle.bundle import Bundle
from rqrec.models.items.item_tokenizer import ItemTokenizer

TOKEN = "durability"  # noqa: S105 - of a service that listens to this process only
REFUSALS = (429, 503, 504)
TYPES = ("view", "click", "play", "purchase", "dislike")
USERS, ITEMS, MAX_EVENTS, K = 40, 10, 20, 10
SENT_TWICE = 0.15  # share of the calls
RETRY_S, UNANSWERED_S = 0.1, 90.0


class Clients:
    """The clients of all replicas, with counts of what happened.

    Args:
        system: The system under test.
        bundle: The model that it serves.
        seed: Seed of all random choices.

    Attributes:
        ledger: The clients' own account of their events.
        counts: Numbers of refused calls (429, 503, 504), calls that were cut off, and calls of each kind.
        faults: Descriptions of wrong answers.
    """

    def __init__(self, system: System, bundle: Bundle, seed: int) -> None:
        self.ledger = Ledger()
        self.counts: Counter[str] = Counter(refused=0)
        self.faults: list[str] = []
        self._system = system
        self._rng = random.Random(seed)
        self._check = AnswerCheck({bundle.manifest.version: bundle})
        self._written = self._check.written
        self._ids = bundle.items["item_id"].to_list()
        self._like = self._check.attributes_like(bundle)
        self._text = next(name for name, value in self._like.items() if isinstance(value, str))
        self._text_width = ItemTokenizer(bundle).text_width
        self._numbers = itertools.count()
        headers = {"authorization": f"Bearer {TOKEN}"}
        self._client = httpx.AsyncClient(headers=headers, timeout=30)

    async def close(self) -> None:
        """Closes the connections."""
        await self._client.aclose()

    async def ask(self, method: str, path: str, body: object = None) -> httpx.Response | None:
        """Sends a request to a replica that runs. Returns None if it was refused or cut off."""
        urls = [replica.url for replica in self._system.replicas if replica.url is not None]
        if not urls:
            return None
        try:
            response = await self._client.request(method, self._rng.choice(urls) + path, json=body)
        except httpx.TransportError:
            self.counts["cut off"] += 1
            return None
        if response.status_code not in REFUSALS:
            if response.status_code >= httpx.codes.INTERNAL_SERVER_ERROR:
                self.faults.append(f"{method} {path}: {response.status_code} {response.text}")
            return response
        self.counts["refused"] += 1
        says_when = path == "/events" or response.status_code == httpx.codes.TOO_MANY_REQUESTS
        if says_when and response.status_code != httpx.codes.GATEWAY_TIMEOUT and "retry-after" not in response.headers:
            self.faults.append(f"{method} {path}: {response.status_code} without Retry-After")
        return None

    async def ask_until_answered(self, method: str, path: str, body: object = None) -> httpx.Response:
        """Repeats a request until it is answered."""
        async with asyncio.timeout(UNANSWERED_S):
            while (response := await self.ask(method, path, body)) is None:
                await asyncio.sleep(RETRY_S)
        return response

    def new_events(self, count: int) -> list[dict[str, Any]]:
        """Returns new events of random users, and notes them as sent. Each has a time of its own."""
        numbers = list(itertools.islice(self._numbers, count))
        events = [
            {
                "user_id": f"user-{self._rng.randrange(USERS)}",
                "item_id": self._rng.choice(self._ids),
                "type": self._rng.choice(TYPES),
                "at": (int(time.time()) * 10**6 + number % 10**6) / 10**6,  # SQLite keeps microseconds
                "event_id": f"event-{number}",
            }
            for number in numbers
        ]
        self.ledger.send(events)
        return events

    async def send_events(self) -> None:
        """Sends events until they are acknowledged; some calls go out twice at the same time."""
        events = self.new_events(self._rng.randint(1, MAX_EVENTS))
        times = 2 if self._rng.random() < SENT_TWICE else 1
        accepted = await asyncio.gather(*(self._send(events) for _ in range(times)))
        if sum(accepted) > len(events):
            self.faults.append(f"{sum(accepted)} of {len(events)} events were accepted in calls with the same ids")
        self.counts["calls with events"] += times

    async def _send(self, events: list[dict[str, Any]]) -> int:
        response = await self.ask_until_answered("POST", "/events", {"events": events})
        reply = response.json()
        if response.is_success and reply["accepted"] + reply["duplicates"] == len(events):
            self.ledger.acknowledge(events)
            return int(reply["accepted"])
        self.faults.append(f"{len(events)} events were answered {response.status_code} {response.text}")
        return 0

    async def recommend(self) -> None:
        """Asks for a user's list and checks it."""
        if not (users := self.ledger.users()):
            return
        user_id = self._rng.choice(users)
        own, begin = self.ledger.own_items(user_id), time.monotonic()
        body = {"user_id": user_id, "k": K, "exclude_history": True, "exclude_types": ["dislike"]}
        response = await self.ask("POST", "/recommend", body)
        if response is None:
            return
        self.counts["lists"] += 1
        if fault := self._fault_of_list(response, sorted(own), begin):
            self.faults.append(f"{fault}; {body} was answered {response.text[:1000]}")

    def _fault_of_list(self, response: httpx.Response, own: list[str], begin: float) -> str:
        if not response.is_success:
            return f"status {response.status_code}"
        reply = response.json()
        source = reply["history_source"]
        self.counts[f"lists from {source}"] += 1
        return fault_of_source(reply) or self._check.fault_of(response, own if source == "store" else [], K, begin)

    async def check_refusals(self) -> None:
        """While Redis is away: events must be refused with 503, and a known user's list must still come."""
        events = self.new_events(3)  # nobody acknowledges these, so the system may have them or not
        for replica in self._system.replicas:
            url, users = replica.url, self.ledger.users()
            if url is None or not users:
                continue
            try:
                refused = await self._client.post(f"{url}/events", json={"events": events})
                listed = await self._client.post(f"{url}/recommend", json={"user_id": users[0]})
            except httpx.TransportError:
                continue  # this replica was killed meanwhile
            if refused.status_code != httpx.codes.SERVICE_UNAVAILABLE or "retry-after" not in refused.headers:
                self.faults.append(f"events without Redis: {refused.status_code} {refused.text}")
            is_listed = listed.is_success and listed.json()["history_source"] in ("memory", "none")
            if not is_listed or listed.json()["fallback"] is None:
                self.faults.append(f"a list without Redis: {listed.status_code} {listed.text[:1000]}")
            self.counts["checks without Redis"] += 1

    async def write_item(self) -> None:
        """Writes or deletes one item until it is confirmed."""
        item_id = f"written-{self._rng.randrange(ITEMS)}"
        written = self._written.setdefault(item_id, Written())
        if written.is_uncertain:
            return  # another client writes it now
        payload, body = None, None
        if written.payload is None or self._rng.random() < 0.7:
            payload = {**self._like, self._text: f"{item_id}, {self._rng.random()}"}
            vector = [self._rng.gauss(0, 1) for _ in range(self._text_width)]
            body = {"attributes": payload} | ({"text_vector": vector} if vector else {})
            written.sent.add(json.dumps(payload))
        written.is_uncertain = True
        response = await self.ask_until_answered("DELETE" if payload is None else "PUT", f"/items/{item_id}", body)
        is_gone = payload is None and response.status_code == httpx.codes.NOT_FOUND
        if not (response.is_success or is_gone):
            self.faults.append(f"writing {item_id}: {response.status_code} {response.text}")
        written.payload, written.since, written.is_uncertain = payload, time.monotonic(), False
        self.counts["item writes"] += 1

    async def lost_items(self) -> list[str]:
        """Returns the items whose last confirmed write is not what the system has."""
        lost = list[str]()
        for item_id, written in self._written.items():
            response = await self.ask_until_answered("GET", f"/items/{item_id}")
            found = response.json()["payload"] if response.is_success else None
            if found != written.payload:
                lost.append(f"{item_id}: expected {written.payload}, found {found}")
        return lost
