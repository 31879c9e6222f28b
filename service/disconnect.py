"""Drops the work for a client that hangs up."""

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from starlette.types import Scope

from service.errors import ClientGone

# In a request's scope: a list of functions that `service.protocol` calls when the client hangs up before its answer.
# ASGI's own way, a second task that waits for http.disconnect, costs every request more than its routing does.
ON_DISCONNECT = "rqrec.on_disconnect"
ResultT = TypeVar("ResultT")


async def unless_client_goes(scope: Scope, work: Awaitable[ResultT]) -> ResultT:
    """The result of the work; it is cancelled if the client hangs up first. Under another server it is not.

    Raises:
        ClientGone: If it did.
    """
    working, is_gone = asyncio.current_task(), False
    assert working is not None

    def go() -> None:
        nonlocal is_gone
        is_gone = True
        working.cancel()

    on_disconnect = scope.get(ON_DISCONNECT, [])
    on_disconnect.append(go)
    try:
        return await work
    except asyncio.CancelledError:
        if is_gone:
            working.uncancel()
            raise ClientGone from None
        raise
    finally:
        on_disconnect.remove(go)
