"""What surrounds every answer: the ids of its request, headers that protect, and how long it took.

One layer, for every layer around a request takes its share of the machine; a refusal in an overload is made without.
"""

import time
from collections.abc import Callable, Sequence

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.ids import Header, take_ids

PAGES = ("/docs", "/docs/oauth2-redirect", "/redoc")  # load their scripts and styles from elsewhere
# Keep a browser from making more of an answer than the JSON that it is.
EVERYWHERE = [
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
]
PROTECTED = [*EVERYWHERE, (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'")]
# In a request's scope, from `service.protocol`: takes the status, the headers and the body of an answer and writes them
# in one piece, or returns False if that is not possible now. Two pieces are two system calls on either side.
WRITE = "rqrec.write"
Told = Sequence[Callable[[Scope, int, float], None]]


def answer_headers(scope: Scope) -> list[Header]:
    """The headers that a request's answer has, whatever it is; the request's ids are the context's from here on."""
    return [*take_ids(scope["headers"]), *(EVERYWHERE if scope["path"] in PAGES else PROTECTED)]


class Envelope:
    """Adds `answer_headers` to every answer and measures it. Pure ASGI, so that a disconnect reaches the app.

    Args:
        app: The app.
        told: Each is told of every answered request: its scope, the status, and the seconds that it took.
    """

    def __init__(self, app: ASGIApp, told: Told) -> None:
        self.app = app
        self.told = told

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes the request on."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        begin, status = time.perf_counter(), 500
        headers, write = answer_headers(scope), scope.get(WRITE)  # no write under another server
        held: Message | None = None

        async def send_in_envelope(message: Message) -> None:
            nonlocal status, held
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], *headers]
                if write is not None:
                    held = message
                    return
            elif held is not None and write is not None:
                start, held = held, None
                is_whole = not message.get("more_body", False)
                if is_whole and write(status, start["headers"], message.get("body", b"")):
                    return
                await send(start)
            await send(message)

        try:
            await self.app(scope, receive, send_in_envelope)
        finally:
            seconds = time.perf_counter() - begin
            for tell in self.told:
                tell(scope, status, seconds)
