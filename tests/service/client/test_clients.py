"""The client against a service, and against prepared answers."""

import asyncio
import json
import re
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from benchmarks.support.running import free_port
from rqrec.client import (
    AsyncClient,
    Client,
    InvalidArgument,
    Pin,
    ProblemError,
    ServiceUnreachable,
    UnexpectedReply,
    UserEvent,
    calls,
)
from rqrec.service.app import create_app
from tests.service.conftest import Served, settings_for

PROBLEM = {
    "type": "overloaded",
    "title": "Too many requests are waiting",
    "status": 429,
    "detail": "…",
    "instance": "/recommend",
    "request_id": "1",
    "retryable": True,
}


@pytest.fixture
def client(served: Served) -> Iterator[Client]:
    with Client(served.url, token=served.token) as client:
        yield client


def test_a_call_leaves_the_history_to_the_model_unless_told() -> None:
    assert b"exclude_history" not in (calls.recommend(["1"]).content or b"")
    assert b'"exclude_history":false' in (calls.recommend(["1"], exclude_history=False).content or b"")


def test_a_call_has_the_controls_that_were_given_and_no_others() -> None:
    boost = {"filter": {"year": {"gte": 1990}}, "factor": 2.0}
    call = calls.recommend(["1"], caps={"genres": 2}, boosts=[boost], pins=[Pin(item_id="5", rank=3)], diversity=0.5)
    controls = {
        "caps": {"genres": 2},
        "boosts": [boost],
        "pins": [{"item_id": "5", "rank": 3}],
        "diversity": 0.5,
    }
    assert controls.items() <= json.loads(call.content or b"").items()
    assert not controls.keys() & json.loads(calls.recommend(["1"]).content or b"").keys()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: calls.recommend(["1"], k=0), "k: Input should be greater than or equal to 1, got 0"),
        (
            lambda: calls.recommend(["1"], filter={"kind": "Tea"}),  # type: ignore[dict-item]
            "filter.kind: expected an object with fields such as any_of, none_of, gte, lte, got str",
        ),
        (lambda: calls.similar("1", filter={"year": {"gt": 1}}), "year.gt: no field has this name, got 1"),
        (lambda: calls.activate("v", percent=0), "percent: Input should be greater than 0, got 0"),
        (lambda: calls.send_events([{}] * 1001), "events: List should have at most 1000 items .*, not 1001"),
    ],
)
def test_an_argument_that_is_not_valid_is_named_in_one_line(call: Callable[[], object], message: str) -> None:
    with pytest.raises(InvalidArgument) as raised:
        call()
    assert re.fullmatch(message, str(raised.value))


def test_an_answer_of_another_server_says_what_to_check() -> None:
    transport = httpx.MockTransport(lambda _request: httpx.Response(200, json={"hello": "world"}))
    with Client("http://localhost", transport=transport) as client, pytest.raises(UnexpectedReply) as raised:
        client.item("1")
    assert re.fullmatch(
        r"http://localhost/items/1 must answer with ItemReply: item_id: .*: check .*", str(raised.value)
    )


def test_every_call(client: Client) -> None:
    assert client.readiness().model_version == "films"
    reply = client.recommend(["1", "116", "117", "nope"], k=3, filter={"genres": {"any_of": ["Animation"]}})
    assert len(reply.items) == 3
    assert reply.unknown_items == ["nope"]
    best = reply.items[0]
    assert client.item(best.item_id).payload == best.payload
    assert client.semantic_id(best.item_id).semantic_id == best.semantic_id
    page = client.items_below(best.semantic_id[:1], limit=1000)
    assert best.item_id in {item.item_id for item in page.items}
    written = client.put_item("a/b ü", {"title": "A new one", "genres": ["Horror"], "year": 1985})
    assert client.item("a/b ü").semantic_id == written.semantic_id
    alike = client.similar("a/b ü", by="content", k=3, filter={"genres": {"any_of": ["Horror"]}})
    assert [item.payload["genres"] for item in alike.items] == [["Horror"]] * 3
    assert client.search("a new on", k=1, filter={"year": {"gte": 1985}}).items[0].item_id == "a/b ü"
    assert {one.name: one.kind for one in client.attributes().attributes}["genres"] == "label"
    client.delete_item("a/b ü")
    with pytest.raises(ProblemError, match="404 The catalogue does not hold this item") as gone:
        client.item("a/b ü")
    assert gone.value.problem.type == "unknown-item"
    activated = client.activate("others", part="canary", percent=5)
    assert {model.version: model.part for model in activated.models}["others"] == "canary"
    assert client.evaluation("others").metrics.keys() >= {"rqrec", "popularity"}
    assert client.readiness().models == {"active": "films", "canary": "others"}
    assert client.recommend(["1"], model_version="others").model_version == "others"
    assert client.models() == activated
    client.activate("films")


def test_the_calls_of_users(client: Client) -> None:
    viewed = UserEvent(user_id="a/b ü", item_id="1", type="view", at=time.time() - 60)
    bought = {"user_id": "a/b ü", "item_id": "71", "type": "purchase", "at": datetime.now(UTC)}
    sent = client.send_events([viewed, bought, {"user_id": 5}])
    assert (sent.accepted, sent.duplicates, sent.num_rejected) == (2, 0, 1)
    first = client.recommend(user_id="a/b ü", k=3, surface="home")
    assert first.history_source == "store"
    second = client.recommend(user_id="a/b ü", k=3, after=first.recommendation_id, exclude_types=["purchase"])
    third = client.recommend(["588"], user_id="a/b ü", k=3, exclude_shown_s=60)
    assert len({item.item_id for reply in (first, second, third) for item in reply.items} | {"1", "71", "588"}) == 12
    data = client.user("a/b ü")
    assert [entry.item_id for entry in data.history] == ["1", "71"]
    pages = [client.user("a/b ü", limit=1)]
    while pages[-1].next_after is not None:
        pages.append(client.user("a/b ü", limit=1, after=pages[-1].next_after))
    assert [one.item_id for page in pages for one in page.events] == ["1", "71"]
    assert [shown.surface for shown in data.impressions] == ["home", None, None]
    client.forget_user("a/b ü")
    with pytest.raises(ProblemError, match="404"):
        client.user("a/b ü")


def test_events_get_ids_so_that_a_repeated_call_counts_once() -> None:
    reply = httpx.Response(200, json={"accepted": 1, "duplicates": 0, "num_rejected": 0, "rejected": []})
    sent = list[bytes]()

    def answer(request: httpx.Request) -> httpx.Response:
        sent.append(request.content)
        return httpx.Response(503) if len(sent) == 1 else reply

    with Client("http://test", transport=httpx.MockTransport(answer)) as client:
        client.send_events([{"user_id": "u", "item_id": "1", "type": "view"}])
    assert sent[0] == sent[1]
    assert len(json.loads(sent[0])["events"][0]["event_id"]) == 36
    own = calls.send_events([UserEvent(user_id="u", item_id="1", type="view", event_id="mine")]).content or b""
    assert json.loads(own) == {"events": [{"user_id": "u", "item_id": "1", "type": "view", "event_id": "mine"}]}


def test_the_async_client_has_the_same_calls(three_bundles: Path) -> None:
    app = create_app(settings_for(three_bundles))

    async def scenario() -> None:
        async with (
            app.router.lifespan_context(app),
            AsyncClient("http://test", transport=httpx.ASGITransport(app)) as client,
        ):
            reply = await client.recommend(["116", "117"], k=4)
            assert len(reply.items) == 4
            with pytest.raises(ProblemError, match="admin-off|off"):
                await client.models()

    asyncio.run(scenario())
    calls = {name for name in vars(Client) if not name.startswith("_")}
    assert calls == {name for name in vars(AsyncClient) if not name.startswith("_")}


def answers(*made: httpx.Response | Exception) -> tuple[Callable[[httpx.Request], httpx.Response], list[float]]:
    """A handler that gives these answers in turn, and the times of its calls."""
    waiting, asked = list(made), list[float]()

    def answer(_request: httpx.Request) -> httpx.Response:
        asked.append(time.monotonic())
        one = waiting.pop(0)
        if isinstance(one, Exception):
            raise one
        return one

    return answer, asked


def test_a_busy_service_is_asked_again_when_it_says() -> None:
    ready = httpx.Response(200, json={"model_version": "first", "catalogue_version": 0})
    answer, asked = answers(httpx.Response(429, json=PROBLEM, headers={"Retry-After": "1"}), ready)
    with Client("http://test", transport=httpx.MockTransport(answer)) as client:
        assert client.readiness().model_version == "first"
    assert 1 <= asked[1] - asked[0] < 1.5


def test_a_broken_connection_is_made_again_and_tries_are_bounded() -> None:
    answer, asked = answers(httpx.ConnectError("refused"), *[httpx.Response(429, json=PROBLEM)] * 2)
    with (
        Client("http://test", transport=httpx.MockTransport(answer), retries=2) as client,
        pytest.raises(ProblemError, match="429") as error,
    ):
        client.recommend(["1"])
    assert len(asked) == 3
    assert error.value.problem.retryable


def test_what_cannot_help_is_not_tried_again() -> None:
    answer, asked = answers(httpx.Response(404, json={**PROBLEM, "status": 404, "retryable": False}))
    with Client("http://test", transport=httpx.MockTransport(answer)) as client, pytest.raises(ProblemError):
        client.item("1")
    assert len(asked) == 1


def test_an_answer_of_something_else_is_told_as_it_is() -> None:
    answer, _ = answers(httpx.Response(502, text="<html>"))
    with (
        Client("http://test", transport=httpx.MockTransport(answer), retries=0) as client,
        pytest.raises(httpx.HTTPStatusError, match="502"),
    ):
        client.readiness()


def test_a_service_that_is_down_is_one_clear_error_with_its_address() -> None:
    address = f"http://127.0.0.1:{free_port()}/rec"
    with (
        Client(address, retries=0) as client,
        pytest.raises(ServiceUnreachable, match=f"no answer from {address}/") as error,
    ):
        client.recommend(["1"])
    assert error.value.__suppress_context__
    assert isinstance(error.value, httpx.TransportError)

    async def ask() -> None:
        async with AsyncClient(address, retries=0) as other:
            await other.recommend(["1"])

    with pytest.raises(ServiceUnreachable, match=f"no answer from {address}/"):
        asyncio.run(ask())
