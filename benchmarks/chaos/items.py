"""Clients that ask for lists by history, write items, overload the queue and send malformed bodies."""

import asyncio
import json
import random
import time
from collections.abc import Mapping
from typing import Any

import httpx

from benchmarks.chaos.caller import Caller
from benchmarks.chaos.trial_account import TrialAccount
from benchmarks.support.answer_check import SETTLED_S, AnswerCheck, Written
from benchmarks.support.request_bodies import malformed, valid_requests
from rqrec.models.bundle.bundle import Bundle
from rqrec.models.items.item_tokenizer import ItemTokenizer

K, BEAM_WIDTH = 10, 20
ITEMS_A_WRITER = 5
BURST = 400


class ItemClients:
    """The clients that know no user.

    Args:
        caller: Sends the requests.
        check: Checks the lists; its written items are updated.
        account: The account of the lists that count; a malformed body may still be a request for one.
        bundle: A model that is served.
        rng: Source of random choices.
    """

    def __init__(
        self, caller: Caller, check: AnswerCheck, account: TrialAccount, bundle: Bundle, rng: random.Random
    ) -> None:
        self._caller = caller
        self._check = check
        self._account = account
        self._rng = rng
        self._written = check.written
        self._ids = bundle.items["item_id"].to_list()
        self._like = check.attributes_like(bundle)
        self._text = next(name for name, value in self._like.items() if isinstance(value, str))
        self._text_width = ItemTokenizer(bundle).text_width
        self._garbage = valid_requests(self._ids[:5], self._like)

    def believe_written(self, item_id: str, payload: Mapping[str, Any]) -> None:
        """Treats an item as written and confirmed.

        Args:
            item_id: The item.
            payload: Its attributes.
        """
        self._written[item_id] = Written(dict(payload), time.monotonic(), {json.dumps(payload)})

    async def recommend(self, k: int = K, beam_width: int = BEAM_WIDTH) -> None:
        """Asks for a list by history and checks it.

        Args:
            k: Number of items to ask for.
            beam_width: Beams of the search.
        """
        pool = self._ids if self._rng.random() < 0.8 or not self._written else list(self._written)
        history = [self._rng.choice(pool) for _ in range(self._rng.randrange(1, 20))]
        share = self._rng.choice((0.0, 0.0, 0.5))
        body = {"history": history, "k": k, "beam_width": beam_width, "new_item_share": share}
        begin = time.monotonic()
        response = await self._caller.ask("POST", "/recommend", json=body, needs_store=False)
        if response is not None and (fault := self._check.fault_of(response, history, k, begin)):
            self._caller.fault("wrong", f"{fault}; {body} was answered {response.text[:2000]}")

    async def burst(self) -> None:
        """Sends more requests at once than the queue takes."""
        before = self._caller.counts["shed"]
        await asyncio.gather(*(self.recommend(100, 100) for _ in range(BURST)))
        self._caller.events["bursts"] += 1
        self._caller.events["bursts that were shed in part"] += self._caller.counts["shed"] > before

    async def write(self, writer: int) -> None:
        """Writes or deletes an item until it is confirmed.

        Args:
            writer: Number of the writer, who has items of their own.
        """
        item_id = f"chaos-{writer}-{self._rng.randrange(ITEMS_A_WRITER)}"
        written = self._written.setdefault(item_id, Written())
        payload, content = None, {}
        if written.payload is None or self._rng.random() < 0.7:
            payload = {**self._like, self._text: f"{item_id}, {self._rng.random()}"}
            vector = [self._rng.gauss(0, 1) for _ in range(self._text_width)]
            content = {"json": {"attributes": payload} | ({"text_vector": vector} if vector else {})}
            written.sent.add(json.dumps(payload))
        written.is_uncertain = True
        method = "DELETE" if payload is None else "PUT"
        response = await self._caller.ask_until_answered(method, f"/items/{item_id}", **content)
        gone_before = payload is None and response.status_code == httpx.codes.NOT_FOUND
        if not (response.is_success or gone_before):
            self._caller.fault("wrong", f"writing {item_id}: {response.status_code} {response.text}")
        written.payload, written.since, written.is_uncertain = payload, time.monotonic(), False
        self._caller.events["items written"] += 1

    async def send_garbage(self) -> None:
        """Sends a malformed body. It may happen to be a valid one: then the list counts, and the events are stored."""
        method, path, body = self._rng.choice(self._garbage[:-1])
        # Some malformed bodies are valid items. Another path keeps them out of the catalogue.
        path = path.replace("/items/fuzz", "/items/fuzz/semantic-id")
        with self._account.asking() as asked:
            response = await self._caller.ask(method, path, content=malformed(body, self._rng))
            if path == "/recommend" and response is not None and response.is_success:
                asked.uncertain(response.json()["recommendation_id"])
        self._caller.events["malformed bodies"] += 1

    async def check_what_was_written(self) -> None:
        """Checks that every confirmed change of an item exists."""
        give_up = time.monotonic() + SETTLED_S
        while True:
            lost = [item_id for item_id, written in self._written.items() if not await self._is_there(item_id, written)]
            if not lost or time.monotonic() > give_up:
                break
            await asyncio.sleep(0.2)
        for item_id in lost:
            self._caller.fault("lost", f"the last confirmed change of {item_id}: {self._written[item_id].payload}")

    async def _is_there(self, item_id: str, written: Written) -> bool:
        response = await self._caller.ask("GET", f"/items/{item_id}")
        if response is None:
            return False
        is_found = response.status_code == httpx.codes.OK
        return (response.json()["payload"] if is_found else None) == written.payload
