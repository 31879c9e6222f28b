"""Recommendations for a user whose events are stored, with both event stores."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from benchmarks.support.running import RedisServer
from tests.service.users.event_services import HORROR, event_service, ids, recommend, send, stored


@pytest.fixture(params=["sqlite", "redis"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, Any]:
    """The settings of an empty event store."""
    if request.param == "redis":
        return {"redis_url": request.getfixturevalue("redis_server").url}
    return {"data_dir": tmp_path / "data"}


@pytest.fixture
def client(bundles: Path, store: dict[str, Any]) -> Iterator[TestClient]:
    with event_service(bundles, store) as client:
        yield client


def scores(reply: dict[str, Any]) -> list[tuple[str, float]]:
    return [(item["item_id"], item["score"]) for item in reply["items"]]


def test_the_stored_history_gives_the_same_list_as_the_same_history_in_the_request(client: TestClient) -> None:
    send(client, "u", *HORROR[:4])
    by_history, by_user = recommend(client, history=HORROR[:4], k=8), recommend(client, user_id="u", k=8)
    assert scores(by_user) == scores(by_history)
    assert (by_user["history_source"], by_history["history_source"]) == ("store", None)
    assert by_user["fallback"] is by_history["fallback"] is None


def test_an_event_shows_in_the_next_list(client: TestClient) -> None:
    send(client, "u", HORROR[0])
    for _ in range(5):
        best = ids(recommend(client, user_id="u", k=3))[0]
        send(client, "u", best)
        assert best not in ids(recommend(client, user_id="u", k=64))


def test_the_given_history_comes_after_the_stored_one_and_the_newest_items_count(
    bundles: Path, store: dict[str, Any]
) -> None:
    with event_service(bundles, store, max_history_items=4) as client:
        send(client, "u", "100", "101", *HORROR[:2])
        both = recommend(client, user_id="u", history=HORROR[2:4], k=8)
        assert scores(both) == scores(recommend(client, history=HORROR[:4], k=8))
        typed = [{"item_id": HORROR[2], "type": "view"}, HORROR[3]]
        assert scores(recommend(client, user_id="u", history=typed, k=8)) == scores(both)


def test_events_count_in_the_order_of_their_times(client: TestClient) -> None:
    now = time.time()
    for age, item in ((10, HORROR[1]), (30, HORROR[0]), (5, HORROR[2])):
        send(client, "u", item, at=now - age)
    assert scores(recommend(client, user_id="u")) == scores(recommend(client, history=HORROR[:3]))


def test_an_unknown_user_gets_the_popular_items_and_a_request_needs_a_user_or_a_history(client: TestClient) -> None:
    assert recommend(client, user_id="stranger", k=3)["fallback"] == "popular"
    problem = client.post("/recommend", json={"k": 3}).json()
    assert problem["errors"] == [
        {"pointer": "/history", "detail": "expected a history, a user_id, or both, got neither"}
    ]


def test_a_disliked_item_is_left_out_until_it_is_chosen_later(client: TestClient) -> None:
    send(client, "u", *HORROR[:3])
    best = ids(recommend(client, user_id="u", k=1))[0]
    send(client, "u", best, kind="dislike")
    everything = recommend(client, user_id="u", k=64, exclude_history=False)
    assert best not in ids(everything)
    assert everything["eligible_items"] == 63
    assert [(i, s) for i, s in scores(recommend(client, history=HORROR[:3], k=64)) if i != best] == scores(
        recommend(client, user_id="u", k=64)
    )
    send(client, "u", best, kind="purchase")
    assert best in ids(recommend(client, user_id="u", k=64, exclude_history=False))


def test_items_with_events_of_excluded_types_are_left_out(client: TestClient) -> None:
    send(client, "u", *HORROR[:2])
    send(client, "u", HORROR[2], kind="purchase")
    options: dict[str, Any] = {"user_id": "u", "k": 64, "exclude_history": False}
    assert set(HORROR[:3]) <= set(ids(recommend(client, **options)))
    left = set(ids(recommend(client, **options, exclude_types=["purchase"])))
    assert (HORROR[0] in left, HORROR[2] in left) == (True, False)
    problem = client.post("/recommend", json={**options, "exclude_types": ["buy"]}).json()
    assert [part["pointer"] for part in problem["errors"]] == ["/exclude_types/0"]
    assert "purchase" in problem["detail"]


def test_items_shown_lately_are_left_out(client: TestClient) -> None:
    send(client, "u", *HORROR[:2])
    first = recommend(client, user_id="u", k=10)
    second = recommend(client, user_id="u", k=10, exclude_shown_s=600)
    third = recommend(client, user_id="u", k=10, exclude_shown_s=600)
    assert len({*ids(first), *ids(second), *ids(third)}) == 30
    assert ids(recommend(client, user_id="u", k=10)) == ids(first)
    assert ids(recommend(client, user_id="other", history=HORROR[:2], k=10, exclude_shown_s=600)) == ids(first)
    time.sleep(1.1)
    assert ids(recommend(client, user_id="u", k=10, exclude_shown_s=1)) == ids(first)
    too_long = client.post("/recommend", json={"user_id": "u", "exclude_shown_s": 10**6})
    assert [part["pointer"] for part in too_long.json()["errors"]] == ["/exclude_shown_s"]


@pytest.mark.parametrize("field", [{"exclude_types": ["view"]}, {"exclude_shown_s": 5}])
def test_what_is_about_a_user_needs_a_user(client: TestClient, field: dict[str, Any]) -> None:
    problem = client.post("/recommend", json={"history": [], **field}).json()
    assert [part["pointer"] for part in problem["errors"]] == [f"/{next(iter(field))}"]


@pytest.mark.parametrize("first", [{"user_id": "u"}, {"history": HORROR[:4], "surface": "home"}])
def test_pages_never_repeat_until_every_item_was_shown(client: TestClient, first: dict[str, Any]) -> None:
    send(client, "u", *HORROR[:4])
    seen, after = list[str](), dict[str, Any]()
    for _ in range(7):
        reply = recommend(client, k=10, **first, **after)
        assert len(ids(reply)) == min(10, reply["eligible_items"])
        seen += ids(reply)
        after = {"after": reply["recommendation_id"]}
    assert len(seen) == len(set(seen)) == 60


def test_a_page_after_what_is_not_stored_is_refused(client: TestClient) -> None:
    unknown = recommend(client, history=HORROR[:2])["recommendation_id"]  # without user and surface: not stored
    for after in (unknown, "nonsense"):
        response = client.post("/recommend", json={"history": HORROR[:2], "after": after})
        assert response.status_code == 422
        assert [part["pointer"] for part in response.json()["errors"]] == ["/after"]
        assert "a user_id, a surface or an `after`" in response.json()["detail"]


def test_only_lists_with_a_user_are_stored_for_the_user(client: TestClient) -> None:
    send(client, "u", HORROR[0])
    recommend(client, history=HORROR[:2], surface="home")
    shown = recommend(client, user_id="u", k=2, surface="cart")
    (impression,) = stored(client, "u")["impressions"]
    assert impression["recommendation_id"] == shown["recommendation_id"]
    assert impression["surface"] == "cart"


def test_a_user_has_one_model_while_a_canary_runs(three_bundles: Path, store: dict[str, Any]) -> None:
    with event_service(three_bundles, store) as client:
        headers = {"Authorization": "Bearer a-secret-token"}
        canary = {"part": "canary", "percent": 50}
        assert client.post("/models/second/activate", json=canary, headers=headers).status_code == 200
        versions = [{recommend(client, user_id=f"{n}")["model_version"] for _ in range(3)} for n in range(20)]
    assert all(len(one) == 1 for one in versions)
    assert set.union(*versions) == {"first", "second"}


def test_two_replicas_share_events_and_pages(bundles: Path, store: dict[str, Any]) -> None:
    with event_service(bundles, store) as one, event_service(bundles, store) as other:
        send(one, "u", *HORROR[:3])
        first = recommend(other, user_id="u", k=10)
        assert scores(first) == scores(recommend(one, history=HORROR[:3], k=10))
        second = recommend(one, user_id="u", k=10, after=first["recommendation_id"])
        third = recommend(other, user_id="u", k=10, after=second["recommendation_id"])
        assert len({*ids(first), *ids(second), *ids(third)}) == 30
        send(other, "u", HORROR[3], kind="purchase")
        assert HORROR[3] not in ids(recommend(one, user_id="u", k=64))


def test_while_redis_is_away_lists_are_made_from_what_the_replica_knows(
    bundles: Path, redis_server: RedisServer
) -> None:
    with event_service(bundles, {"redis_url": redis_server.url}) as client:
        send(client, "u", *HORROR[:3])
        known = recommend(client, user_id="u", k=5)
        redis_server.stop()
        away = recommend(client, user_id="u", k=5)
        assert scores(away) == scores(known)
        assert (away["fallback"], away["history_source"]) == ("degraded", "memory")
        stranger = recommend(client, user_id="stranger", history=HORROR[:3], k=5)
        assert scores(stranger) == scores(known)
        assert (stranger["fallback"], stranger["history_source"]) == ("degraded", "none")
        nobody = recommend(client, user_id="another", k=5)
        assert (nobody["fallback"], nobody["history_source"]) == ("popular", "none")
        buffered = recommend(client, user_id="u", k=5, after=away["recommendation_id"])
        assert not set(ids(buffered)) & set(ids(away))
        shown = recommend(client, user_id="u", k=5, exclude_shown_s=60)
        assert not set(ids(shown)) & {*ids(away), *ids(buffered)}
        unknown = client.post("/recommend", json={"user_id": "u", "after": "x"})
        assert (unknown.status_code, unknown.headers["retry-after"]) == (503, "1")
        redis_server.start()
        deadline = time.monotonic() + 10
        while recommend(client, user_id="u", history=HORROR[:3])["history_source"] != "store":
            assert time.monotonic() < deadline
            time.sleep(0.05)
