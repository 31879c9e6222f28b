"""How a start that fails is told."""

import sys

from starlette.types import Message, Send

from rqrec.models.bundle.error import BundleError
from rqrec.service.errors import UnusableModel
from rqrec.service.serving.device import NoDevice

OUTSIDE = (BundleError, NoDevice, MemoryError)  # errors of a start whose reason lies outside of the program
NO_THREAD = "can't start new thread"  # of a RuntimeError, where memory or processes are limited


def failing_in_one_line(send: Send) -> Send:
    """Lets the server say in one line why the app does not start, where that is no fault of the program.

    Args:
        send: ASGI's, of the lifespan.
    """

    async def send_reason(message: Message) -> None:
        error = sys.exc_info()[1]  # Starlette sends its traceback from within the handler
        if isinstance(error, UnusableModel):
            error = error.__cause__
        is_outside = isinstance(error, OUTSIDE) or str(error) == NO_THREAD
        if message["type"] == "lifespan.startup.failed" and is_outside:
            message = {**message, "message": f"cannot start: {str(error) or 'not enough memory'}"}
        await send(message)

    return send_reason
