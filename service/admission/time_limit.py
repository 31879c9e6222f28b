"""A time limit that many requests share, with one timer of the event loop for all of them."""

import asyncio
from typing import Protocol


class LimitedRequest(Protocol):
    """A request that a time limit may end."""

    def expire(self, limit: "TimeLimit") -> None:
        """Ends the request: the limit has passed."""


class TimeLimit:
    """Ends requests that take too long.

    All requests get the same time, so they expire in the order in which they started. One timer therefore waits for the
    first of them. A timer for each request would take 6 us of every answer.

    Args:
        seconds: Time that a request may take.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._deadlines: dict[LimitedRequest, float] = {}  # by the event loop's clock, in seconds
        self._timer: asyncio.TimerHandle | None = None

    def start(self, request: LimitedRequest, deadline: float) -> None:
        """Starts to limit a request.

        Args:
            request: The request.
            deadline: When it expires, by the event loop's clock, in seconds.
        """
        self._deadlines[request] = deadline
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_at(deadline, self._expire)

    def stop(self, request: LimitedRequest) -> None:
        """Stops limiting a request; does nothing if it is not limited."""
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
