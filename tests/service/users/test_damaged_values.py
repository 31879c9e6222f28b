"""A damaged value of one user in the event store: other users are read and forgotten as usual."""

import asyncio
import time

import pytest

from benchmarks.support.running import RedisServer
from rqrec.service.errors import StoreUnavailable, UnknownUser
from rqrec.service.events.event import Event, Impression
from rqrec.service.events.redis_keys import shown_key
from rqrec.service.events.store import START, StoreLimits
from rqrec.service.users.event_rules import DEFAULT_RULES, EventRules
from rqrec.service.users.metrics import UserMetrics
from rqrec.service.users.users import UserLimits, Users
from tests.service.events.opened_store import OpenedStore
from tests.service.users.conftest import SometimesAway


def test_other_users_are_read_and_forgotten_while_a_list_of_a_damaged_user_is_refused(
    store: SometimesAway, metrics: UserMetrics
) -> None:
    async def scenario() -> None:
        users = Users(store, EventRules(DEFAULT_RULES), metrics, UserLimits(100, 100, 3600.0))
        await store.append([Event("e", "u", "a", "view", 5.0)])
        store.damaged = frozenset({"damaged"})
        users.record(Impression("r", "damaged", None, "m", "active", ("a",), time.time()))
        assert len((await users.page("u", START, 10)).history) == 1
        await users.forget("u")
        with pytest.raises(UnknownUser):
            await users.page("u", START, 10)
        await users.stop()

    asyncio.run(scenario())


def test_a_list_that_is_stored_in_part_beside_that_of_a_damaged_user_is_forgotten(
    redis_server: RedisServer, metrics: UserMetrics
) -> None:
    opened = OpenedStore(redis_server.url, StoreLimits())
    users = Users(opened.store, EventRules(DEFAULT_RULES), metrics, UserLimits(100, 100, 3600.0))
    redis_server.client.set(shown_key("damaged"), "a text")
    lists = [
        Impression(f"list of {user_id}", user_id, None, "m", "active", ("a",), time.time())
        for user_id in ("damaged", "u")
    ]
    for one in lists:
        users.record(one)
    with pytest.raises(StoreUnavailable):  # of a batch with both, Redis refuses one part and stores the other
        opened.run(opened.store.add_impressions(lists))
    opened.run(users.forget("u"))
    assert opened.run(opened.store.impression("list of u")) is None
    opened.close()
