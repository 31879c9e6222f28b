"""Permits, weights, and the budget of bodies."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any

import pytest

from rqrec.service.admission.admin_token import AdminToken
from rqrec.service.admission.admission import ADMIN, Admission, AdmissionLimits
from rqrec.service.admission.client_identity import ClientIdentity
from rqrec.service.errors import Overloaded
from rqrec.service.telemetry import Metrics


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
        held[0].release()  # the second call does nothing
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
            for taken in range(65):  # noqa: B007 - read after the loop
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
            scope_of("/models/x/activate", authorization="Bearer token"),  # two are being answered
            scope_of("/models/x/activate", authorization="Bearer wrong"),
            scope_of("/recommend", authorization="Bearer token"),
            scope_of("/events", authorization="Bearer token"),
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
        admission.hold_body(other, 1000)  # there is still room for a small body
        large.release()
        admission.hold_body(other, 800_000)

    in_loop(scenario)
