"""Drops the work for a client that hangs up."""

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from starlette.types import Scope

from service.errors import ClientGone

# In a request's scope: its `Caller`, from `service.protocol`. ASGI's own way to learn of a client that hangs up, a
# second task that waits for http.disconnect, costs every request more than its routing does.
CALLER = "rqrec.caller"
ResultT = TypeVar("ResultT")


class Caller:
    """The client of one request."""

    def __init__(self) -> None:
        self._is_gone = False
        self._working: asyncio.Task[object] | None = None

    def go(self) -> None:
        """Notes that it hung up, and ends what is done for it."""
        self._is_gone = True
        if self._working is not None:
            self._working.cancel()

    async def wait_for(self, work: Awaitable[ResultT]) -> ResultT:
        """See `unless_client_goes`."""
        self._working = working = asyncio.current_task()
        try:
            return await work
        except asyncio.CancelledError:
            if self._is_gone and working is not None:
                working.uncancel()
                raise ClientGone from None
            raise
        finally:
            self._working = None


async def unless_client_goes(scope: Scope, work: Awaitable[ResultT]) -> ResultT:
    """The result of the work; it is cancelled if the client hangs up first. Under another server it is not.

    Raises:
        ClientGone: If it did.
    """
    caller: Caller | None = scope.get(CALLER)
    return await (work if caller is None else caller.wait_for(work))
