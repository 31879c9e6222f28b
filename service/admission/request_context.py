"""The context of one request: its client, its deadline, and its cancellation."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from starlette.types import Scope

from rqrec.service.admission.time_limit import TimeLimit
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
        body_limit: Time for the body to arrive, from now.
        answer_limit: Time for the answer, from now; None for no limit.
        release: Called once with this context when the request is over.

    Attributes:
        client: Name of the client.
        weight: Weight of the request in the queue; 1 is a search of the default width.
        body_bytes: How much of the body is in memory, in bytes.
        is_reading: Whether the body is still arriving.
    """

    __slots__ = (
        "_answer_limit", "_body_limit", "_ended_by", "_loop", "_release", "_started_at", "_task", "_timer",
        "body_bytes", "client", "is_reading", "weight",
    )  # fmt: skip

    def __init__(
        self,
        client: str,
        *,
        body_limit: TimeLimit,
        answer_limit: TimeLimit | None,
        release: Callable[["RequestContext"], None] | None = None,
    ) -> None:
        self.client = client
        self.weight = 1
        self.body_bytes = 0
        self.is_reading = False
        self._loop = asyncio.get_running_loop()
        self._started_at = self._loop.time()
        self._body_limit = body_limit
        self._answer_limit = answer_limit
        self._release = release
        self._ended_by: Exception | None = None
        self._task: asyncio.Task[object] | None = None
        self._timer: asyncio.TimerHandle | None = None  # for a time limit of its own

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
        if self._answer_limit is not None:
            self._answer_limit.start(self, self._started_at + self._answer_limit.seconds)
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
            self._stop_limits()

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
        """Gives the request its own time for the answer, in seconds from its headers."""
        self._stop_limits()
        self._timer = self._loop.call_at(self._started_at + timeout_s, self.end, DeadlinePassed())

    def begin_body(self) -> None:
        """Starts the time limit of the body."""
        self.is_reading = True
        self._body_limit.start(self, self._started_at + self._body_limit.seconds)

    def finish_body(self) -> None:
        """Stops the time limit of the body: it has arrived."""
        self.is_reading = False
        self._body_limit.stop(self)

    def expire(self, limit: TimeLimit) -> None:
        """Ends the request: one of its time limits has passed."""
        self.end(BodyTimeout() if limit is self._body_limit else DeadlinePassed())

    def release(self) -> None:
        """Gives back the permit and the memory of the request. Only the first call counts."""
        release, self._release = self._release, None
        if release is not None:
            release(self)

    def _stop_limits(self) -> None:
        self._body_limit.stop(self)
        if self._answer_limit is not None:
            self._answer_limit.stop(self)
        if self._timer is not None:
            self._timer.cancel()


def context_of(scope: Scope) -> RequestContext:
    """The context of an admitted request, from its ASGI scope."""
    context: RequestContext = scope[CONTEXT]
    return context
