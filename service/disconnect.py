"""Drops the work for a client that hangs up."""

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from starlette.requests import Request

from service.errors import ClientGone

ResultT = TypeVar("ResultT")


async def unless_client_goes(request: Request, work: Awaitable[ResultT]) -> ResultT:
    """The result of the work; it is cancelled if the client hangs up first. The request's body must have been read.

    Raises:
        ClientGone: If it did.
    """
    working = asyncio.current_task()
    assert working is not None
    # With the body read, the next message is that the client has gone.
    watching = asyncio.ensure_future(request.receive())
    watching.add_done_callback(lambda watched: None if watched.cancelled() else working.cancel())
    try:
        return await work
    except asyncio.CancelledError:
        if watching.done():
            working.uncancel()
            raise ClientGone from None
        raise
    finally:
        watching.cancel()
