"""Canaries whose lists users click more, less or as often, in services that may promote them by themselves."""

import logging
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from random import Random
from typing import Any

import pytest
from fastapi.testclient import TestClient

from benchmarks.support.running import RedisServer
from rqrec.service.app import create_app
from rqrec.service.errors import StoreUnavailable
from rqrec.service.search.batch_search import Found, Key, Result, Work, search
from tests.service.conftest import settings_for, until
from tests.service.serving.three_models import HEADERS, TOKEN, activate, ask, samples, service

OPTIONS = {
    "promotion": "auto",
    "promotion_check_s": 0.05,
    "promotion_tightest_at": 60,
    "guardrail_requests": 20,
    "guardrail_p99_ratio": 1000.0,  # a test's canary may be slow at its first request
}

LIKED = {"first": 0.4, "second": 0.75}  # users click the lists of the canary more


@pytest.fixture
def options(tmp_path: Path) -> dict[str, Any]:
    return {**OPTIONS, "data_dir": tmp_path / "data"}


def play(clients: Sequence[TestClient], rates: dict[str, float], users: range) -> None:
    """Shows each user a list, which the user clicks with a probability that depends on its model."""
    chance, clicks = Random(users.start), list[dict[str, str]]()
    for user in users:
        user_id = f"user {user}"
        reply = ask(clients[user % len(clients)], history=[], user_id=user_id, surface="home")
        if chance.random() < rates[reply["model_version"]]:
            click = {"user_id": user_id, "item_id": reply["items"][0]["item_id"], "type": "click"}
            clicks.append({**click, "recommendation_id": reply["recommendation_id"]})
    for client in clients:  # each click comes to every replica, as another event
        assert client.post("/events", json={"events": clicks}).json()["accepted"] == len(clicks)


def listed(client: TestClient) -> dict[str, Any]:
    """The reply of GET /models."""
    reply: dict[str, Any] = client.get("/models").json()
    return reply


def outcomes(client: TestClient) -> dict[str, Any]:
    """What came of the lists of each model that has a role."""
    return {one["version"]: one["outcomes"] for one in listed(client)["models"] if one["part"]}


def num_shown(client: TestClient) -> int:
    return sum(one["impressions"] for one in outcomes(client).values())


def parts(client: TestClient) -> dict[str, str]:
    return {one["version"]: one["part"] for one in listed(client)["models"] if one["part"]}


def actions(client: TestClient) -> dict[str, float]:
    found = samples(client, "rqrec_trial_actions_total")
    return {action: found[f'rqrec_trial_actions_total{{action="{action}"}}'] for action in ("promote", "roll_back")}


def test_equal_models_are_only_watched(three_bundles: Path, options: dict[str, Any]) -> None:
    with service(three_bundles, **options) as client:
        activate(client, "second", part="canary", percent=50)
        play([client], {"first": 0.5, "second": 0.5}, range(150))
        until(lambda: num_shown(client) == 150)
        trial = listed(client)["trial"]
        assert (trial["action"], trial["outcome"], trial["promotion"]) == ("wait", "clicks", "auto")
        assert trial["differences"]["clicks"]["lower"] < 0 < trial["differences"]["clicks"]["upper"]
        assert trial["differences"]["conversions"] == {"lower": -1, "upper": 1}
        assert trial["reasons"] == [f"no difference of the rates is shown yet: between {trial_bounds(trial)}"]
        assert parts(client) == {"first": "active", "second": "canary"}
        assert actions(client) == {"promote": 0, "roll_back": 0}


def trial_bounds(trial: dict[str, Any]) -> str:
    bounds = trial["differences"]["clicks"]
    return f"{bounds['lower']:.4f} and {bounds['upper']:.4f}"


def test_rates_are_shown_by_model_and_surface_and_as_metrics(three_bundles: Path, options: dict[str, Any]) -> None:
    with service(three_bundles, **options, promotion_outcome="conversions") as client:
        for user in range(4):
            reply = ask(client, user_id=str(user), surface="home" if user else None)
            event = {"user_id": str(user), "item_id": "116", "recommendation_id": reply["recommendation_id"]}
            client.post("/events", json={"events": [{**event, "type": "purchase" if user else "view"}] * 2})
        ask(client)  # nobody and nowhere: no impression
        until(lambda: num_shown(client) == 4)
        found = outcomes(client)["first"]
        assert (found["impressions"], found["clicks"]["count"], found["conversions"]["count"]) == (4, 4, 3)
        assert found["conversions"] == {"count": 3, "rate": 0.75, "lower": 0, "upper": 1}
        assert {name: one["conversions"]["count"] for name, one in found["by_surface"].items()} == {
            "home": 3,
            "none": 0,
        }
        assert listed(client)["trial"] is None
        name = 'rqrec_trial_conversions{part="active",surface="home"}'
        until(lambda: samples(client, name) == {name: 3})
        assert samples(client, "rqrec_trial_decision") == {}


def test_a_canary_that_users_click_more_is_promoted(
    three_bundles: Path, options: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    with service(three_bundles, **options) as client, caplog.at_level(logging.WARNING, "rqrec"):
        activate(client, "second", part="canary", percent=50)
        play([client], LIKED, range(300))
        until(lambda: parts(client) == {"second": "active"})
        assert actions(client) == {"promote": 1, "roll_back": 0}
        assert num_shown(client) == 0  # the roles have changed, so the counts begin again
        assert (
            "decided to promote the canary second: the canary's rate is higher than the active model's" in caplog.text
        )
        assert "clicks of" in caplog.text


def test_a_canary_that_users_click_less_is_rolled_back_and_stays_away(
    three_bundles: Path, options: dict[str, Any]
) -> None:
    with service(three_bundles, **options) as client:
        activate(client, "second", part="canary", percent=50)
        play([client], {"first": 0.75, "second": 0.4}, range(300))
        until(lambda: parts(client) == {"first": "active"})
        play([client], {"first": 0.1, "second": 0.9}, range(1000, 1030))
        assert parts(client) == {"first": "active"}
        assert actions(client) == {"promote": 0, "roll_back": 1}


def without_items(key: Key, works: Sequence[Work]) -> Sequence[Result]:
    """A search that returns too few items, but not with the first model."""
    found = search(key, works)
    if key.snapshot.version == "first":
        return found
    return [Found(one.ranking.first(1)) for one in found if isinstance(one, Found)]


def crashing(key: Key, works: Sequence[Work]) -> Sequence[Result]:
    """A search that only works with the first model."""
    if key.snapshot.version != "first":
        raise RuntimeError("a broken model")
    return search(key, works)


@pytest.mark.parametrize(
    ("broken", "reason"), [(without_items, "share of short lists is 100.00%"), (crashing, "share of errors is 100.00%")]
)
def test_a_canary_that_breaks_a_guardrail_is_rolled_back(
    three_bundles: Path,
    options: dict[str, Any],
    broken: Callable[..., Sequence[Result]],
    reason: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    settings = settings_for(three_bundles, admin_token=TOKEN, **options)
    app = create_app(settings, broken)
    with TestClient(app, headers=HEADERS, raise_server_exceptions=False) as client:
        activate(client, "second", part="canary", percent=50)
        for user in range(50):
            client.post("/recommend", json={"history": ["116"], "user_id": str(user), "k": 5})
        until(lambda: parts(client) == {"first": "active"})
        assert f"decided to roll back the canary second: the canary's {reason}" in caplog.text


def test_named_models_are_no_sample_of_the_trial(three_bundles: Path, options: dict[str, Any]) -> None:
    app = create_app(settings_for(three_bundles, admin_token=TOKEN, **options), crashing)
    with TestClient(app, headers=HEADERS, raise_server_exceptions=False) as client:
        activate(client, "second", part="canary", percent=1e-9)  # nobody goes to it by routing key
        for _ in range(30):  # if they counted, the canary's errors would break the guardrail
            assert client.post("/recommend", json={"history": ["116"], "model_version": "second"}).status_code == 500
            ask(client)
        shown = ask(client, user_id="a user", surface="home", model_version="first")
        click = {"user_id": "a user", "item_id": shown["items"][0]["item_id"], "type": "click"}
        client.post("/events", json={"events": [{**click, "recommendation_id": shown["recommendation_id"]}]})
        ask(client, user_id="a user", surface="home")
        until(lambda: num_shown(client) == 1)
        assert outcomes(client)["first"]["clicks"]["count"] == 0
        assert len(client.get("/users/a user").json()["impressions"]) == 2  # it was shown all the same
        assert listed(client)["trial"]["action"] == "wait"
        assert parts(client) == {"first": "active", "second": "canary"}


def test_a_canary_is_rolled_back_at_the_deadline(three_bundles: Path, options: dict[str, Any]) -> None:
    with service(three_bundles, **options, promotion_deadline_s=0.3) as client:
        assert activate(client, "second", part="canary", percent=50)["second"] == "canary"
        until(lambda: parts(client) == {"first": "active"})


def test_advice_is_given_once_and_changes_nothing(
    three_bundles: Path, options: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    with service(three_bundles, **{**options, "promotion": "advise"}) as client, caplog.at_level(logging.INFO, "rqrec"):
        activate(client, "second", part="canary", percent=50)
        play([client], LIKED, range(300))
        name = 'rqrec_trial_decision{action="promote"}'
        until(lambda: samples(client, name) == {name: 1})
        assert listed(client)["trial"]["action"] == "promote"
        assert parts(client) == {"first": "active", "second": "canary"}
        assert caplog.text.count("the outcome test advises to promote the canary second") == 1


def test_nothing_is_counted_with_promotion_off(three_bundles: Path, options: dict[str, Any]) -> None:
    with service(three_bundles, **{**options, "promotion": "off"}) as client:
        activate(client, "second", part="canary", percent=50)
        play([client], {"first": 1, "second": 1}, range(5))
        assert outcomes(client) == {"first": None, "second": None}
        assert listed(client)["trial"] is None


def test_models_are_listed_while_the_event_store_is_away(
    three_bundles: Path, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(_self: object, _trial: int) -> None:
        raise StoreUnavailable("away")

    monkeypatch.setattr("rqrec.service.events.sqlite_store.SqliteEventStore.outcome_counts", fail)
    with service(three_bundles, **options) as client:
        activate(client, "second", part="canary", percent=50)
        assert outcomes(client) == {"first": None, "second": None}


def test_two_replicas_agree_and_one_of_them_promotes(
    three_bundles: Path, redis_server: RedisServer, options: dict[str, Any]
) -> None:
    with ExitStack() as stack:
        clients = [stack.enter_context(service(three_bundles, redis_url=redis_server.url, **options)) for _ in range(2)]
        activate(clients[0], "second", part="canary", percent=50)
        until(lambda: parts(clients[1]) == {"first": "active", "second": "canary"})
        play(clients, {"first": 0.5, "second": 0.5}, range(100))
        until(lambda: num_shown(clients[0]) == 100)
        assert listed(clients[0])["models"] == listed(clients[1])["models"]
        assert all(parts(client) == {"first": "active", "second": "canary"} for client in clients)
        play(clients, LIKED, range(100, 400))
        until(lambda: all(parts(client) == {"second": "active"} for client in clients))
        assert sum(actions(client)["promote"] for client in clients) == 1
