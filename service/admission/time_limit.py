"""A time limit that many requests share, with one timer of the event loop for all of them."""

import asyncio
from typing import Protocol


class LimitedRequest(Protocol):
    """What `TimeLimit` needs of a request: a method that ends it."""

    def expire(self, limit: "TimeLimit") -> None:
        """Ends the request because `limit` has passed."""


class TimeLimit:
    """Ends requests whose deadline has passed.

    All requests get the same time. So their deadlines pass in the order in which `TimeLimit.start` was called, and one
    timer is enough: it waits for the earliest deadline. A timer for each request would add 6 microseconds to every
    answer.

    Args:
        seconds: Time that a request may take.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._deadlines: dict[LimitedRequest, float] = {}  # by the event loop's clock, in seconds
        self._timer: asyncio.TimerHandle | None = None

    def start(self, request: LimitedRequest, deadline: float) -> None:
        """Sets the deadline of a request. At the deadline the request's method `expire` is called, which ends it.

        Nothing is called if `TimeLimit.stop` has removed the deadline before.

        Args:
            request: The request.
            deadline: The deadline, in seconds of the event loop's clock. Each call needs the same or a later deadline
                than the call before.
        """
        self._deadlines[request] = deadline
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_at(deadline, self._expire)

    def stop(self, request: LimitedRequest) -> None:
        """Removes the deadline of a request. Does nothing if the request has no deadline."""
        self._deadlines.pop(request, None)

    def _expire(self) -> None:
        """Ends the requests whose deadlines have passed, and sets the timer for the next deadline."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        self._timer = None
        while self._deadlines:
            request, deadline = next(iter(self._deadlines.items()))
            if deadline > now:
                self._timer = loop.call_at(deadline, self._expire)
                return
            del self._deadlines[request]
            request.expire(self)
