"""One timer ends every request that takes too long, and no other one."""

import asyncio

from rqrec.service.admission.time_limit import TimeLimit


class Request:
    def __init__(self) -> None:
        self.expired_at: float | None = None

    def expire(self, limit: TimeLimit) -> None:
        assert limit.seconds == 0.05
        self.expired_at = asyncio.get_running_loop().time()


def test_requests_expire_at_their_deadlines_and_those_that_ended_do_not() -> None:
    async def scenario() -> None:
        loop, limit, requests, deadlines = asyncio.get_running_loop(), TimeLimit(0.05), list[Request](), list[float]()
        for number in range(40):
            requests.append(Request())
            deadlines.append(loop.time() + limit.seconds)
            limit.start(requests[-1], deadlines[-1])
            if number % 4 == 0:
                await asyncio.sleep(0.005)
        for request in requests[20:30]:
            if request.expired_at is None:
                limit.stop(request)
        ended = [request for request in requests[20:30] if request.expired_at is None]
        await asyncio.sleep(0.2)
        assert ended
        for request, deadline in zip(requests, deadlines, strict=True):
            if request in ended:
                assert request.expired_at is None
            else:
                assert request.expired_at is not None
                assert deadline <= request.expired_at < deadline + 0.1

    asyncio.run(scenario())


def test_a_limit_waits_with_one_timer_and_none_when_nothing_is_limited() -> None:
    async def scenario() -> None:
        limit, one, other = TimeLimit(0.05), Request(), Request()
        begin = asyncio.get_running_loop().time()
        limit.start(one, begin + limit.seconds)
        timer = limit._timer
        limit.start(other, begin + limit.seconds + 0.02)
        assert limit._timer is timer
        limit.stop(one)
        limit.stop(one)
        await asyncio.sleep(0.15)
        assert (one.expired_at, limit._timer) == (None, None)
        assert other.expired_at is not None

    asyncio.run(scenario())
