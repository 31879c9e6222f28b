"""The context of one request: its client, its permits, its deadline, and its cancellation."""

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
    """The state of one request from its admission to its answer. It can cancel all work for the request at once.

    The ASGI scope of the request refers to the context. The context must not refer back to the scope: a reference cycle
    would keep both in memory until the garbage collector runs.

    Args:
        client: Name of the client, as `ClientIdentity` finds it; `admin` for probes, scrapes and admin requests.
        body_limit: Time limit of the body, counted from the creation of the context.
        answer_limit: Time limit of the answer, counted from the creation of the context; None for no limit.
        release: Called once with this context when the request is over; gives back its permits and memory.

    Attributes:
        client: Name of the client, as in the argument.
        weight: Number of permits that the request holds; 1 for a search of the default beam width.
        body_bytes: Number of bytes of the body that are in memory.
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
        """Awaits the work of the request. Cancels this work if a time limit passes or `RequestContext.end` is called.

        Args:
            work: Awaitable that makes and sends the answer.

        Returns:
            The result of the work.

        Raises:
            DeadlinePassed: If the answer was not ready in time.
            BodyTimeout: If the body did not arrive in time.
            Exception: The error that `RequestContext.end` was called with, such as ClientGone.
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
        """Cancels the work of the request. `RequestContext.run`, which awaits this work, then raises the error.

        Args:
            error: Why the request ends. Only the first call counts.
        """
        if self._ended_by is None:
            self._ended_by = error
            if self._task is not None:
                self._task.cancel()

    def set_timeout(self, timeout_s: float) -> None:
        """Replaces the time limit of the answer by `timeout_s` seconds, counted from the admission of the request."""
        self._stop_limits()
        self._timer = self._loop.call_at(self._started_at + timeout_s, self.end, DeadlinePassed())

    @property
    def deadline_has_passed(self) -> bool:
        """Whether the request was ended because its answer was not ready in time."""
        return isinstance(self._ended_by, DeadlinePassed)

    def begin_body(self) -> None:
        """Starts the time limit of the request's body, which counts from the creation of this context.

        Called before the body is read.
        """
        self.is_reading = True
        self._body_limit.start(self, self._started_at + self._body_limit.seconds)

    def finish_body(self) -> None:
        """Stops the time limit of the request's body. Called when the whole body has arrived."""
        self.is_reading = False
        self._body_limit.stop(self)

    def expire(self, limit: TimeLimit) -> None:
        """Ends the request because `limit` has passed.

        The request ends with BodyTimeout if `limit` is the time limit of its body, else with DeadlinePassed.
        """
        self.end(BodyTimeout() if limit is self._body_limit else DeadlinePassed())

    def release(self) -> None:
        """Gives back the permits and the memory of the request. Only the first call has an effect."""
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
    """Returns the context of a request, which admission has stored in the request's ASGI scope."""
    context: RequestContext = scope[CONTEXT]
    return context
