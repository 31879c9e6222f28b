"""Events and users over HTTP, with both event stores."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from fastapi.testclient import TestClient

from benchmarks.support.running import RedisServer
from rqrec.service.http.problems import MEDIA_TYPE
from tests.service.users.event_services import ADMIN, HORROR, event_service, ids, items_of, recommend, send, stored

VIEW = {"user_id": "u", "item_id": "116", "type": "view"}


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


def test_an_event_that_is_sent_twice_counts_once(client: TestClient) -> None:
    events = [{**VIEW, "event_id": "one"}, {**VIEW, "item_id": "117", "event_id": "two"}]
    first, second = (client.post("/events", json={"events": events}).json() for _ in range(2))
    assert first == {"accepted": 2, "duplicates": 0, "num_rejected": 0, "rejected": []}
    assert second == {"accepted": 0, "duplicates": 2, "num_rejected": 0, "rejected": []}
    assert items_of(stored(client, "u")["history"]) == ["116", "117"]
    assert items_of(stored(client, "u")["events"]) == ["116", "117"]


def test_without_event_ids_a_repetition_counts_twice(client: TestClient) -> None:
    send(client, "u", "116")
    assert send(client, "u", "116")["accepted"] == 1
    assert items_of(stored(client, "u")["history"]) == ["116", "116"]


def test_faulty_events_are_named_and_the_good_ones_kept(client: TestClient) -> None:
    events = [VIEW, {**VIEW, "type": "vieww"}, "nonsense", {**VIEW, "at": time.time() + 100_000}, VIEW]
    reply = client.post("/events", json={"events": events}).json()
    assert (reply["accepted"], reply["duplicates"], reply["num_rejected"]) == (2, 0, 3)
    assert [(one["index"], one["pointer"]) for one in reply["rejected"]] == [
        *((1, "/events/1/type"), (2, "/events/2"), (3, "/events/3/at")),
    ]
    assert "view, click, play, cart, like, purchase, dislike" in reply["rejected"][0]["detail"]
    assert len(stored(client, "u")["history"]) == 2


def test_the_faults_of_a_reply_are_bounded(client: TestClient) -> None:
    odd = {**VIEW, "k" * 500_000: 1, "type": "x" * 200_000}
    reply = client.post("/events", json={"events": [odd, *[{}] * 900]})
    assert reply.json()["num_rejected"] == 901
    assert len(reply.json()["rejected"]) == 20
    assert len(reply.content) < 16_000
    assert client.post("/events", json={"events": []}).json() == {
        "accepted": 0,
        "duplicates": 0,
        "num_rejected": 0,
        "rejected": [],
    }


@pytest.mark.parametrize("body", [[], [VIEW], {}, {"events": VIEW}, {"events": None}, {"events": [], "more": 1}, 5])
def test_a_body_that_has_no_list_of_events_is_invalid(client: TestClient, body: object) -> None:
    response = client.post("/events", json=body)
    assert (response.status_code, response.headers["content-type"]) == (422, MEDIA_TYPE)


def test_too_many_events_and_too_long_bodies_are_too_large(client: TestClient) -> None:
    assert client.post("/events", json={"events": [VIEW] * 1000}).json()["accepted"] == 1000
    for body in ({"events": [VIEW] * 1001}, {"events": [{**VIEW, "item_id": "x" * (1 << 20)}]}):
        response = client.post("/events", json=body)
        assert (response.status_code, response.json()["type"]) == (413, "too-large")
    assert len(stored(client, "u")["events"]) == 1000


def test_a_users_data_is_shown_and_forgotten(client: TestClient) -> None:
    user = "a/b ü"
    at = round(time.time()) - 5.5
    fields = {"event_id": "e", "at": at, "value": 9.5, "recommendation_id": "r"}
    send(client, user, "116", kind="purchase", **fields)
    shown = recommend(client, user_id=user, k=3, surface="home")
    path = f"/users/{quote(user, safe='')}"
    data = client.get(path, headers=ADMIN).json()
    assert data["user_id"] == user
    assert data["history"] == [{"item_id": "116", "type": "purchase", "at": at}]
    assert data["events"] == [{"item_id": "116", "type": "purchase", **fields}]
    (impression,) = data["impressions"]
    assert impression["recommendation_id"] == shown["recommendation_id"]
    assert impression["item_ids"] == ids(shown)
    assert (impression["surface"], impression["role"], impression["after"]) == ("home", "active", None)
    for _ in range(2):
        assert client.delete(path, headers=ADMIN).status_code == 204
    gone = client.get(path, headers=ADMIN)
    assert (gone.status_code, gone.json()["type"]) == (404, "unknown-user")
    assert recommend(client, user_id=user, k=3)["fallback"] == "popular"
    send(client, user, "117")
    assert items_of(stored(client, quote(user, safe=""))["history"]) == ["117"]


def test_a_user_with_many_events_is_shown_page_by_page(client: TestClient) -> None:
    films = HORROR[:5]
    send(client, "u", *films)
    events, query = list[str](), dict[str, Any](limit=2)
    for num_entries in (5, 0, 0):
        page = client.get("/users/u", params=query, headers=ADMIN).json()
        assert (len(page["history"]), page["impressions"]) == (num_entries, [])
        events += items_of(page["events"])
        query["after"] = page["next_after"]
    assert (events, query["after"]) == (films, None)


@pytest.mark.parametrize(("name", "value"), [("after", "x"), ("after", "x" * 100), ("limit", "0"), ("limit", "1001")])
def test_a_page_that_cannot_be_is_refused(client: TestClient, name: str, value: str) -> None:
    response = client.get("/users/u", params={name: value}, headers=ADMIN)
    assert (response.status_code, response.headers["content-type"]) == (422, MEDIA_TYPE)
    assert [part["pointer"] for part in response.json()["errors"]] == [f"/{name}"]


@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_users_need_the_token(client: TestClient, method: str) -> None:
    assert client.request(method, "/users/u").status_code == 401
    assert client.request(method, "/users/u", headers={"Authorization": "Bearer no"}).status_code == 401


def test_events_need_no_token_and_users_are_off_without_one(bundles: Path, store: dict[str, Any]) -> None:
    with event_service(bundles, store, admin_token=None) as client:
        assert send(client, "u", "116")["accepted"] == 1
        assert client.get("/users/u").json()["type"] == "admin-off"


def test_event_types_are_a_setting(bundles: Path, store: dict[str, Any]) -> None:
    types = {"watch": {"conversion": True}, "search": {"history": False}}
    with event_service(bundles, store, event_types=types) as client:
        send(client, "u", "116", kind="watch")
        send(client, "u", "117", kind="search")
        assert items_of(stored(client, "u")["history"]) == ["116"]
        assert items_of(stored(client, "u")["events"]) == ["116", "117"]
        reply = client.post("/events", json={"events": [VIEW]}).json()
        assert "watch, search" in reply["rejected"][0]["detail"]


def test_events_outlast_a_restart(bundles: Path, store: dict[str, Any]) -> None:
    with event_service(bundles, store) as client:
        send(client, "u", *HORROR[:3])
        first = recommend(client, user_id="u", k=5)
    with event_service(bundles, store) as client:
        assert items_of(stored(client, "u")["history"]) == HORROR[:3]
        assert stored(client, "u")["impressions"][0]["recommendation_id"] == first["recommendation_id"]


def test_the_file_is_made_by_the_first_event(bundles: Path, tmp_path: Path) -> None:
    folder = tmp_path / "not" / "there"
    with event_service(bundles, {"data_dir": folder}) as client:
        recommend(client, history=["116"])
        assert recommend(client, user_id="u", history=["116"])["history_source"] == "store"
        assert client.get("/users/other", headers=ADMIN).status_code == 404
    with event_service(bundles, {"data_dir": tmp_path / "none"}) as client:
        recommend(client, history=["116"])
        assert not (tmp_path / "none").exists()
        send(client, "u", "116")
        assert (tmp_path / "none" / "events.sqlite").exists()


def test_a_store_that_cannot_be_written_is_unavailable(bundles: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with event_service(bundles, {"data_dir": tmp_path / "file"}) as client:
        check_unavailable(client)


def test_events_are_refused_while_redis_is_away(bundles: Path, redis_server: RedisServer) -> None:
    with event_service(bundles, {"redis_url": redis_server.url}) as client:
        send(client, "u", "116")
        redis_server.stop()
        check_unavailable(client)
        redis_server.start()
        deadline = time.monotonic() + 10
        while client.post("/events", json={"events": [VIEW]}).status_code != 200:
            assert time.monotonic() < deadline
            time.sleep(0.05)


def check_unavailable(client: TestClient) -> None:
    for method, path, body in (("POST", "/events", {"events": [VIEW]}), ("DELETE", "/users/u", None)):
        response = client.request(method, path, content=json.dumps(body) if body else None, headers=ADMIN)
        assert (response.status_code, response.json()["type"]) == (503, "store-unavailable"), response.text
        assert response.json()["retryable"]
        assert int(response.headers["retry-after"]) >= 1
