"""The context of one request: its client, its deadline, and its cancellation."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from starlette.types import Scope

from rqrec.service.errors import BodyTimeout, DeadlinePassed

# The key of a request's context in its ASGI scope.
CONTEXT = "rqrec.context"
ResultT = TypeVar("ResultT")


class RequestContext:
    """The context of one request, made at admission. One deadline and one cancellation hold for all its stages.

    A context never refers to its request's ASGI scope: the scope refers to the context, and a reference cycle would
    keep both in memory until the garbage collector runs.

    Args:
        client: Name of the client, by `service.admission.client_identity.ClientIdentity`.
        body_timeout_s: Time for the body to arrive, in seconds from now.
        timeout_s: Time for the answer, in seconds from now; None for no limit.
        release: Called once with this context when the request is over.

    Attributes:
        client: Name of the client.
        weight: Weight of the request in the queue; 1 is a search of the default width.
        body_bytes: How much of the body is in memory, in bytes.
    """

    __slots__ = (
        "_body_deadline", "_deadline", "_ended_by", "_is_reading", "_loop", "_release", "_started_at", "_task",
        "_timer", "body_bytes", "client", "weight",
    )  # fmt: skip

    def __init__(
        self,
        client: str,
        *,
        body_timeout_s: float,
        timeout_s: float | None,
        release: Callable[["RequestContext"], None] | None = None,
    ) -> None:
        self.client = client
        self.weight = 1
        self.body_bytes = 0
        self._loop = asyncio.get_running_loop()
        self._started_at = self._loop.time()
        self._body_deadline = self._started_at + body_timeout_s
        self._deadline = None if timeout_s is None else self._started_at + timeout_s
        self._is_reading = False
        self._release = release
        self._ended_by: Exception | None = None
        self._task: asyncio.Task[object] | None = None
        self._timer: asyncio.TimerHandle | None = None

    async def run(self, work: Awaitable[ResultT]) -> ResultT:
        """Awaits the work of a request, and cancels it when the request ends early.

        Args:
            work: Makes the answer.

        Returns:
            The result of the work.

        Raises:
            DeadlinePassed: If the answer was not ready in time.
            BodyTimeout: If the body did not arrive in time.
            Exception: The error that `end` was called with, such as ClientGone.
        """
        task = asyncio.current_task()
        assert task is not None
        self._task = task
        self._arm()
        try:
            if self._ended_by is not None:
                task.cancel()
            return await work
        except asyncio.CancelledError:
            if self._ended_by is None:
                raise
            task.uncancel()
            raise self._ended_by from None
        finally:
            self._task = None
            if self._timer is not None:
                self._timer.cancel()

    def end(self, error: Exception) -> None:
        """Cancels the work of the request; `run` then raises the error.

        Args:
            error: Why the request ends. Only the first call counts.
        """
        if self._ended_by is None:
            self._ended_by = error
            if self._task is not None:
                self._task.cancel()

    def set_timeout(self, timeout_s: float) -> None:
        """Sets the time for the answer, in seconds from the request's headers."""
        self._deadline = self._started_at + timeout_s
        self._arm()

    def begin_body(self) -> None:
        """Starts to apply the deadline of the body, until `finish_body`."""
        self._is_reading = True
        self._arm()

    def finish_body(self) -> None:
        """Stops applying the deadline of the body: it has arrived."""
        self._is_reading = False
        self._arm()

    @property
    def is_reading(self) -> bool:
        """Whether the body is still arriving."""
        return self._is_reading

    def release(self) -> None:
        """Gives back the permit and the memory of the request. Only the first call counts."""
        release, self._release = self._release, None
        if release is not None:
            release(self)

    @property
    def _next_deadline(self) -> float | None:
        if self._is_reading:
            return self._body_deadline if self._deadline is None else min(self._body_deadline, self._deadline)
        return self._deadline

    def _arm(self) -> None:
        """Sets the timer to fire no later than the next deadline. A timer that fires early is set again."""
        deadline = self._next_deadline
        if deadline is None or self._task is None:
            return
        if self._timer is None or self._timer.cancelled() or self._timer.when() > deadline:
            if self._timer is not None:
                self._timer.cancel()
            self._timer = self._loop.call_at(deadline, self._expire)

    def _expire(self) -> None:
        self._timer = None
        deadline = self._next_deadline
        if deadline is not None and self._loop.time() < deadline:
            self._arm()
        elif deadline is not None:
            self.end(BodyTimeout() if self._is_reading else DeadlinePassed())


def context_of(scope: Scope) -> RequestContext:
    """The context of an admitted request, from its ASGI scope."""
    context: RequestContext = scope[CONTEXT]
    return context
