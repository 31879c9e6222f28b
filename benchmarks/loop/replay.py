"""One slice of events against the running services: a list before each event, then the event itself."""

import asyncio
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import NamedTuple

import polars as pl

from rqrec.client import AsyncClient
from rqrec.training.data.dataset import EVENT_TYPE, ITEM_ID, TIMESTAMP, USER_ID

K = 10
USERS_AT_ONCE = 16
SENT_TWICE_EVERY = 100  # every so manyth event is sent a second time, as after a lost answer


class Action(NamedTuple):
    """One event to play.

    Attributes:
        event_id: Unique id of the event.
        item_id: The item that the user chose.
        type: What the user did.
        at: When, in seconds since 1970.
    """

    event_id: str
    item_id: str
    type: str
    at: int


@dataclass
class Played:
    """What came of a slice.

    Attributes:
        questions: Number of lists that were compared with the item that the user chose next.
        hits: How many of the lists held the item, by system.
    """

    questions: int = 0
    hits: Counter[str] = field(default_factory=Counter)

    def recall(self) -> dict[str, float]:
        """Returns the share of hits by system."""
        return {name: number / self.questions for name, number in sorted(self.hits.items())}


def actions_by_user(events: pl.DataFrame, *, first_number: int) -> dict[str, list[Action]]:
    """Groups events by user, each user's in the order of time.

    Args:
        events: The events, oldest first.
        first_number: Number of the first event; its `event_id` is made of it.
    """
    by_user: dict[str, list[Action]] = {}
    columns = (events[name].to_list() for name in (USER_ID, ITEM_ID, EVENT_TYPE, TIMESTAMP))
    for number, (user_id, item_id, kind, at) in enumerate(zip(*columns, strict=True), first_number):
        by_user.setdefault(user_id, []).append(Action(f"event-{number}", item_id, kind, at))
    return by_user


class Replay:
    """Plays slices of events.

    The list for a user depends on the model and on the events of this user. The model changes between slices. So
    within a slice, users are played beside each other, and the events of each user one after another.

    Args:
        systems: The address of the service to ask by user, by name of the system.
        writer: The address of the service that takes the events.
        frozen: The list of each user that the model made before the first slice, which never changes, and its name.
        first_lists: The lists of `frozen`, by user; users who are not in it get the list of nobody, "".
        asked: The event types that are questions; the others, such as dislikes, are events only.
    """

    def __init__(
        self,
        systems: Mapping[str, str],
        writer: str,
        frozen: str,
        first_lists: Mapping[str, frozenset[str]],
        asked: frozenset[str],
    ) -> None:
        self._systems = systems
        self._writer = writer
        self._frozen = frozen
        self._first_lists = first_lists
        self._asked = asked

    async def play(self, by_user: Mapping[str, list[Action]]) -> Played:
        """Plays one slice.

        Args:
            by_user: The events of each user, oldest first.
        """
        played, users = Played(hits=Counter(dict.fromkeys([self._frozen, *self._systems], 0))), iter(by_user.items())
        async with asyncio.TaskGroup() as tasks:
            for _ in range(USERS_AT_ONCE):
                tasks.create_task(self._play_users(users, played))
        return played

    async def _play_users(self, users: Iterator[tuple[str, list[Action]]], played: Played) -> None:
        async with AsyncExitStack() as stack:
            clients = {name: await stack.enter_async_context(AsyncClient(url)) for name, url in self._systems.items()}
            writer = await stack.enter_async_context(AsyncClient(self._writer))
            for user_id, actions in users:
                for action in actions:
                    if action.type in self._asked:
                        await self._ask(clients, user_id, action, played)
                    await self._send(writer, user_id, action)

    async def _ask(self, clients: Mapping[str, AsyncClient], user_id: str, action: Action, played: Played) -> None:
        first = self._first_lists.get(user_id, self._first_lists[""])
        played.questions += 1
        played.hits[self._frozen] += action.item_id in first
        for name, client in clients.items():
            reply = await client.recommend(user_id=user_id, k=K, at=action.at)
            played.hits[name] += action.item_id in {item.item_id for item in reply.items}

    async def _send(self, writer: AsyncClient, user_id: str, action: Action) -> None:
        event = {"user_id": user_id, **action._asdict()}
        for _ in range(2 if int(action.event_id.rpartition("-")[2]) % SENT_TWICE_EVERY == 0 else 1):
            reply = await writer.send_events([event])
            assert reply.num_rejected == 0, reply
