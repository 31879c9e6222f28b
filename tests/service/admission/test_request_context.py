"""Deadlines and cancellation of a request."""

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from rqrec.service.admission.request_context import RequestContext
from rqrec.service.admission.time_limit import TimeLimit
from rqrec.service.errors import BodyTimeout, ClientGone, DeadlinePassed


def in_loop(scenario: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(scenario())


def test_the_deadline_holds_over_every_stage() -> None:
    async def scenario() -> None:
        begin = time.monotonic()
        context = RequestContext("a", body_limit=TimeLimit(9), answer_limit=TimeLimit(9))

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
        late = RequestContext("a", body_limit=TimeLimit(0.05), answer_limit=TimeLimit(9))

        async def reads() -> None:
            late.begin_body()
            await asyncio.sleep(9)

        with pytest.raises(BodyTimeout):
            await late.run(reads())
        early = RequestContext("a", body_limit=TimeLimit(0.05), answer_limit=TimeLimit(9))

        async def works() -> str:
            early.begin_body()
            early.finish_body()
            await asyncio.sleep(0.1)
            return "done"

        assert await early.run(works()) == "done"

    in_loop(scenario)


def test_a_request_that_ended_before_it_began_does_nothing() -> None:
    async def scenario() -> None:
        context, begun = RequestContext("a", body_limit=TimeLimit(1), answer_limit=None), []

        async def work() -> None:
            await asyncio.sleep(0)
            begun.append(1)

        context.end(ClientGone())
        with pytest.raises(ClientGone):
            await context.run(work())
        assert begun == []

    in_loop(scenario)
