"""Permits, deadlines, and who a client is."""

import asyncio
import json
import time
from collections.abc import Callable, Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from rqrec.service.admission.admin_token import AdminToken
from rqrec.service.admission.admission import ADMIN, Admission, AdmissionLimits
from rqrec.service.admission.client_identity import ClientIdentity
from rqrec.service.admission.request_context import RequestContext
from rqrec.service.app import create_app
from rqrec.service.errors import BodyTimeout, ClientGone, DeadlinePassed, Overloaded
from rqrec.service.settings import Settings
from rqrec.service.telemetry import Metrics
from tests.service.conftest import settings_for

LARGEST_ERROR = 64 << 10


def scope_of(path: str = "/recommend", address: str = "1.1.1.1", **headers: str) -> dict[str, Any]:
    pairs = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return {"type": "http", "method": "POST", "path": path, "client": (address, 1), "headers": pairs}


LIMITS = AdmissionLimits(
    max_queue=256, max_admin_requests=32, max_bodies_bytes=64 << 20, timeout_s=5.0, body_timeout_s=5.0
)


def admission_of(running: int = 0, admin_token: str | None = None, **limits: int) -> Admission:
    return Admission(
        replace(LIMITS, **limits),
        ClientIdentity([], "X-API-Key"),
        AdminToken(admin_token),
        Metrics(),
        running=lambda: running,
        seconds_per_request=lambda: 2.5,
    )


def in_loop(scenario: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(scenario())


def test_a_full_queue_refuses_at_once_and_says_when_to_come_back() -> None:
    async def scenario() -> None:
        admission = admission_of(max_queue=2)
        held = [admission.admit(scope_of(address=address)) for address in ("1.1.1.1", "1.1.1.2")]
        with pytest.raises(Overloaded, match="2 requests are waiting: try again in 5 s") as refused:
            admission.admit(scope_of(address="1.1.1.3"))
        assert refused.value.retry_after_s == 5
        held[0].release()
        held[0].release()  # gives back once
        admission.admit(scope_of())
        with pytest.raises(Overloaded):
            admission.admit(scope_of())

    in_loop(scenario)


def test_what_is_being_searched_does_not_wait() -> None:
    async def scenario() -> None:
        admission = admission_of(running=1, max_queue=1)
        admission.admit(scope_of())
        admission.admit(scope_of())
        with pytest.raises(Overloaded):
            admission.admit(scope_of())

    in_loop(scenario)


def test_one_client_never_takes_all_permits() -> None:
    async def scenario() -> None:
        admission = admission_of(max_queue=64)
        taken = 0
        with pytest.raises(Overloaded):
            for taken in range(65):  # noqa: B007 - how far it came
                admission.admit(scope_of(address="6.6.6.6"))
        assert taken == 56
        for _ in range(2):
            admission.admit(scope_of(address="1.1.1.1"))

    in_loop(scenario)


def test_probes_are_always_let_in_and_the_admin_has_permits_of_its_own() -> None:
    async def scenario() -> None:
        admission = admission_of(max_queue=1, max_admin_requests=2, admin_token="token")
        admission.admit(scope_of())
        for _ in range(10):
            admission.admit(scope_of("/healthz"))
        admins = [admission.admit(scope_of("/models/x/activate", authorization="Bearer token")) for _ in range(2)]
        assert {one.client for one in admins} == {ADMIN}
        for scope in (
            scope_of("/models/x/activate", authorization="Bearer token"),  # there are two
            scope_of("/models/x/activate", authorization="Bearer wrong"),
            scope_of("/recommend", authorization="Bearer token"),
        ):
            with pytest.raises(Overloaded):
                admission.admit(scope)
        admins[0].release()
        admission.admit(scope_of("/items/1", authorization="Bearer token"))

    in_loop(scenario)


def test_wide_searches_weigh_more_and_one_alone_is_never_too_heavy() -> None:
    async def scenario() -> None:
        admission = admission_of(max_queue=8)
        first = admission.admit(scope_of())
        admission.weigh(first, 10)
        assert admission.waiting == 10
        first.release()
        assert admission.waiting == 0
        second, third = admission.admit(scope_of()), admission.admit(scope_of())
        admission.weigh(second, 6)
        with pytest.raises(Overloaded):
            admission.weigh(third, 6)
        assert admission.waiting == 7
        for one in (second, third):
            one.release()
        assert admission.waiting == 0

    in_loop(scenario)


def test_all_bodies_share_a_budget_and_give_it_back() -> None:
    async def scenario() -> None:
        admission = admission_of(max_bodies_bytes=1 << 20)
        large, other = admission.admit(scope_of()), admission.admit(scope_of())
        admission.hold_body(large, 800_000)
        with pytest.raises(Overloaded):
            admission.hold_body(other, 200_000)
        admission.hold_body(other, 1000)  # a small one still has room
        large.release()
        admission.hold_body(other, 800_000)

    in_loop(scenario)


def test_the_deadline_holds_over_every_stage() -> None:
    async def scenario() -> None:
        begin = time.monotonic()
        context = RequestContext("a", body_timeout_s=9, timeout_s=9)

        async def work() -> None:
            context.set_timeout(0.05)
            await asyncio.sleep(0.01)
            await asyncio.sleep(9)

        with pytest.raises(DeadlinePassed):
            await context.run(work())
        assert time.monotonic() - begin < 1
        assert asyncio.current_task().cancelling() == 0  # type: ignore[union-attr]

    in_loop(scenario)


def test_a_body_has_a_deadline_of_its_own_and_a_later_one_may_follow() -> None:
    async def scenario() -> None:
        late = RequestContext("a", body_timeout_s=0.05, timeout_s=9)

        async def reads() -> None:
            late.begin_body()
            await asyncio.sleep(9)

        with pytest.raises(BodyTimeout):
            await late.run(reads())
        early = RequestContext("a", body_timeout_s=0.05, timeout_s=9)

        async def works() -> str:
            early.begin_body()
            early.finish_body()
            await asyncio.sleep(0.1)
            return "done"

        assert await early.run(works()) == "done"

    in_loop(scenario)


def test_a_request_that_ended_before_it_began_does_nothing() -> None:
    async def scenario() -> None:
        context, begun = RequestContext("a", body_timeout_s=1, timeout_s=None), []

        async def work() -> None:
            await asyncio.sleep(0)
            begun.append(1)

        context.end(ClientGone())
        with pytest.raises(ClientGone):
            await context.run(work())
        assert begun == []

    in_loop(scenario)


PROXY = ["10.0.0.0/8", "fd00::/8"]


@pytest.mark.parametrize(
    ("scope", "client"),
    [
        (scope_of(address="1.2.3.4", x_api_key="new", x_forwarded_for="9.9.9.9"), "1.2.3.4"),
        (scope_of(address="10.1.1.1", x_forwarded_for="9.9.9.9"), "9.9.9.9"),
        (scope_of(address="10.1.1.1", x_forwarded_for="8.8.8.8, 9.9.9.9, 10.2.2.2"), "9.9.9.9"),
        (scope_of(address="10.1.1.1", x_api_key="shop"), "key:shop"),
        (scope_of(address="10.1.1.1"), "10.1.1.1"),
        (scope_of(address="fd00::1", x_forwarded_for="2001:db8:1:2:3::4"), "2001:db8:1:2::/64"),
        (scope_of(address="2001:db8:1:2::1"), "2001:db8:1:2::/64"),
        (scope_of(address="2001:db8:1:2:ffff::1"), "2001:db8:1:2::/64"),
        (scope_of(address="::ffff:1.2.3.4"), "1.2.3.4"),
    ],
)
def test_a_client_is_what_it_cannot_choose(scope: dict[str, Any], client: str) -> None:
    networks = Settings.model_validate({"trusted_proxies": PROXY}).trusted_proxies
    assert ClientIdentity(networks, "X-API-Key").identify(scope) == client


def test_a_new_key_each_time_does_not_pass_the_rate(bundles: Path) -> None:
    with TestClient(create_app(settings_for(bundles, rate_limit="3/minute"))) as client:
        statuses = [client.get("/items/100", headers={"X-API-Key": str(number)}).status_code for number in range(5)]
    assert statuses == [200, 200, 200, 429, 429]


def test_clients_behind_a_trusted_proxy_have_a_rate_each(bundles: Path) -> None:
    settings = settings_for(bundles, rate_limit="1/minute", trusted_proxies=["10.0.0.0/8"])
    with TestClient(create_app(settings), client=("10.0.0.1", 1)) as client:
        forwarded = [{"X-Forwarded-For": f"9.9.9.{number}"} for number in (1, 2, 1)]
        assert [client.get("/items/100", headers=one).status_code for one in forwarded] == [200, 200, 429]


FAULTY = {
    "numbers": '{"history":[' + "0," * 500_000 + "0]}",
    "empty texts": '{"history":[' + '"",' * 300_000 + '""]}',
    "lists": '{"history":[' + "[]," * 40_000 + "[]]}",
    "filters of lists": json.dumps({"history": [], "filter": {f"a{n}": {"any_of": [[]] * 2000} for n in range(20)}}),
    "filters of texts": json.dumps({"history": [], "filter": {f"a{n}": {"any_of": ["x"] * 9999} for n in range(20)}}),
    "filter names": json.dumps({"history": [], "filter": {f"a{n}": 1 for n in range(85_000)}}),
    "operators": json.dumps({"history": [], "filter": {"a": {f"a{n}": 1 for n in range(85_000)}}}),
    "fields": json.dumps({"history": [], **{f"a{n}": 1 for n in range(60)}}),
    "many fields": json.dumps({"history": [], **{f"a{n}": 1 for n in range(85_000)}}),
    "a long name": json.dumps({"history": [], "k" * 1_000_000: 1}),
    "odd names": json.dumps({"history": [], **{"\x01" * 900 + str(n): 1 for n in range(60)}}),
    "depth": '{"history":' * 90_000,
    "brackets": '{"history":' + "[" * 1_000_000,
    "a long number": '{"history":[], "k":' + "9" * 1_000_000 + "}",
}


@pytest.mark.parametrize("kind", FAULTY)
def test_the_faults_of_a_body_are_bounded(plain_client: TestClient, kind: str) -> None:
    begin = time.process_time()
    response = plain_client.post("/recommend", content=FAULTY[kind].encode())
    assert time.process_time() - begin < 3
    assert response.status_code in {413, 422}
    assert len(response.content) < LARGEST_ERROR
    assert len(response.json()["errors"]) <= 20


def test_middleware_can_be_added_and_sees_every_route(bundles: Path) -> None:
    class Stamp:
        def __init__(self, app: Any) -> None:
            self.app = app

        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            async def stamped(message: Any) -> None:
                if message["type"] == "http.response.start":
                    message["headers"] = [*message["headers"], (b"x-stamp", b"1")]
                await send(message)

            await self.app(scope, receive, stamped)

    app = create_app(settings_for(bundles))
    app.add_middleware(Stamp)
    with TestClient(app) as client:
        answers = client.post("/recommend", json={"history": ["116"]}), client.get("/healthz"), client.get("/nowhere")
        assert [one.headers["x-stamp"] for one in answers] == ["1", "1", "1"]


def test_pages_of_the_origins_that_are_set_may_call(bundles: Path) -> None:
    preflight = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"}
    with TestClient(create_app(settings_for(bundles, cors_origins=["https://shop.example"]))) as client:
        allowed = client.options("/recommend", headers={"Origin": "https://shop.example", **preflight})
        assert allowed.status_code == 200
        assert allowed.headers["access-control-allow-origin"] == "https://shop.example"
        answer = client.post("/recommend", json={"history": []}, headers={"Origin": "https://shop.example"})
        assert answer.headers["access-control-allow-origin"] == "https://shop.example"
        other = client.options("/recommend", headers={"Origin": "https://other.example", **preflight})
        assert "access-control-allow-origin" not in other.headers
