"""A damaged value of one user in the event store: other users are read and forgotten as usual."""

import asyncio
import time

import pytest

from rqrec.service.errors import UnknownUser
from rqrec.service.events.event import Event, Impression
from rqrec.service.users.event_rules import DEFAULT_RULES, EventRules
from rqrec.service.users.metrics import UserMetrics
from rqrec.service.users.users import UserLimits, Users
from tests.service.users.conftest import SometimesAway


def test_other_users_are_read_and_forgotten_while_a_list_of_a_damaged_user_is_refused(
    store: SometimesAway, metrics: UserMetrics
) -> None:
    async def scenario() -> None:
        users = Users(store, EventRules(DEFAULT_RULES), metrics, UserLimits(100, 100, 3600.0))
        await store.append([Event("e", "u", "a", "view", 5.0)])
        store.damaged = frozenset({"damaged"})
        users.record(Impression("r", "damaged", None, "m", "active", ("a",), time.time()))
        assert len((await users.data("u")).history) == 1
        await users.forget("u")
        with pytest.raises(UnknownUser):
            await users.data("u")
        await users.stop()

    asyncio.run(scenario())
