"""Shortens the error of a failed start to one line if its cause is outside of the program, such as a bad bundle."""

import sys

from starlette.types import Message, Send

from rqrec.models.bundle.error import BundleError
from rqrec.service.errors import UnusableModel
from rqrec.service.serving.device import NoDevice

OUTSIDE = (BundleError, NoDevice, MemoryError)  # errors of a start with a cause outside of the program
NO_THREAD = "can't start new thread"  # Python's RuntimeError where memory or processes are limited


def failing_in_one_line(send: Send) -> Send:
    """Wraps ASGI's `send` for the lifespan, so that some failed starts are logged as one line without a traceback.

    The line is used for errors whose cause is outside of the program, such as a bundle that cannot be read, or too
    little memory. All other errors are logged with their traceback.

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
