"""Random calls of an event store, compared with a plain model of it."""

import tempfile
import time
from dataclasses import replace
from itertools import count
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from benchmarks.support.running import RedisServer
from rqrec.service.events.event import Event, Impression
from rqrec.service.events.store import START, StoreLimits
from tests.service.events.opened_store import OpenedStore
from tests.service.events.plain_store import PlainStore

LIMITS = StoreLimits(
    user_history=4,
    user_impressions=3,
    history_types=frozenset({"view", "like"}),
    click_types=frozenset({"view", "like"}),
    conversion_types=frozenset({"like", "click"}),
)
USERS = ("ann", "bob", "cy")
NOW = float(round(time.time()))
users = st.sampled_from(USERS)
trials = st.sampled_from((None, 0, 1_790_000_000_000))
events = st.builds(
    Event,
    event_id=st.integers(0, 30).map(str),
    user_id=users,
    item_id=st.sampled_from("abcd"),
    type=st.sampled_from(("view", "like", "click")),
    at=st.integers(-2, 8).map(lambda number: NOW + number / 4),
    value=st.none() | st.floats(allow_nan=False, allow_infinity=False),
    recommendation_id=st.none() | st.integers(0, 12).map("list {}".format),
)


class StoreMachine(RuleBasedStateMachine):
    """Calls a store at random, and opens it again now and then."""

    opened: OpenedStore

    @initialize()
    def start(self) -> None:
        self.model, self.position, self.numbers = PlainStore(LIMITS), START, count()

    @rule(events=st.lists(events, max_size=8))
    def append(self, events: list[Event]) -> None:
        assert self.opened.run(self.opened.store.append(events)) == self.model.append(events)

    @rule(shown=st.lists(st.tuples(users | st.none(), st.integers(0, 50), st.sampled_from("abcd"), trials), max_size=4))
    def show(self, shown: list[tuple[str | None, int, str, int | None]]) -> None:
        made = []
        for user_id, age, item_id, trial in shown:
            number = next(self.numbers)
            at = NOW - age + number / 1024  # each has a time of its own
            surface, bucket = (None, "home", "page")[age % 3], age % 5
            one = Impression(f"list {number}", user_id, surface, "model", "canary", (item_id, "x"), at)
            made.append(replace(one, trial=trial, bucket=bucket))
        self.opened.run(self.opened.store.add_impressions(made))
        self.model.add_impressions(made)

    @rule(user_id=users)
    def forget(self, user_id: str) -> None:
        self.opened.forget(user_id)
        self.model.forget(user_id)

    @rule()
    def read(self) -> None:
        page = self.opened.run(self.opened.store.read(self.position, 16))
        for user_id in USERS:
            mine = [one for one in page.records if one.user_id == user_id]
            assert mine == [one for one in self.model.unread if one.user_id == user_id][: len(mine)]
        assert page.records or not self.model.unread
        self.model.note_read(page.records)
        self.position = page.position

    @rule()
    def trim(self) -> None:
        self.opened.run(self.opened.store.trim(self.position))
        self.model.untrimmed = []

    @rule()
    def reopen(self) -> None:
        self.opened.reopen()

    @rule(user_id=users, age=st.integers(0, 50))
    def ask_what_was_shown(self, user_id: str, age: int) -> None:
        expected = {item_id for one in self.model.shown(user_id, NOW - age) for item_id in one.item_ids}
        assert self.opened.run(self.opened.store.shown_since(user_id, NOW - age)) == expected

    @invariant()
    def knows_the_same(self) -> None:
        run, store = self.opened.run, self.opened.store
        for user_id in USERS:
            expected = self.model.user(user_id)
            assert self.opened.user(user_id, limit=2) == expected
            assert run(store.history(user_id, 2)) == expected.history[-2:]
            for one in expected.impressions:
                assert run(store.impression(one.recommendation_id)) == one
        for trial in (0, 1_790_000_000_000):
            assert run(store.outcome_counts(trial)) == self.model.outcome_counts(trial)
        assert run(store.size()) == len(self.model.untrimmed) + len(self.model.unread)

    def teardown(self) -> None:
        self.opened.close()


EXAMPLES = settings(max_examples=25, stateful_step_count=30)


def test_an_sqlite_file_does_what_the_model_does() -> None:
    class Machine(StoreMachine):
        def __init__(self) -> None:
            super().__init__()
            self.folder = tempfile.TemporaryDirectory()
            self.opened = OpenedStore(Path(self.folder.name) / "events.sqlite", LIMITS)

        def teardown(self) -> None:
            super().teardown()
            self.folder.cleanup()

    run_state_machine_as_test(Machine, settings=EXAMPLES)


def test_redis_does_what_the_model_does(redis_server: RedisServer) -> None:
    class Machine(StoreMachine):
        def __init__(self) -> None:
            super().__init__()
            redis_server.client.flushall()
            self.opened = OpenedStore(redis_server.url, LIMITS)

    run_state_machine_as_test(Machine, settings=EXAMPLES)
