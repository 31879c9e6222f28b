"""Shortens the error of a failed start to one line where the cause lies outside of the program."""

import sys

from starlette.types import Message, Send

from rqrec.models.bundle.error import BundleError
from rqrec.service.errors import UnusableModel
from rqrec.service.serving.device import NoDevice

OUTSIDE = (BundleError, NoDevice, MemoryError)  # errors of a start with a cause outside of the program
NO_THREAD = "can't start new thread"  # Python's RuntimeError where memory or processes are limited


def failing_in_one_line(send: Send) -> Send:
    """Wraps the `send` of a lifespan so that the server logs one line, and no traceback, for errors of `OUTSIDE`.

    Args:
        send: ASGI's `send` of the lifespan.

    Returns:
        The wrapped `send`.
    """

    async def send_reason(message: Message) -> None:
        error = sys.exc_info()[1]  # Starlette sends the message from within its except block
        if isinstance(error, UnusableModel):
            error = error.__cause__
        is_outside = isinstance(error, OUTSIDE) or str(error) == NO_THREAD
        if message["type"] == "lifespan.startup.failed" and is_outside:
            message = {**message, "message": f"cannot start: {str(error) or 'not enough memory'}"}
        await send(message)

    return send_reason
