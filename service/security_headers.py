"""Middleware: headers that keep a browser from making more of an answer than the JSON that it is."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

PAGES = ("/docs", "/docs/oauth2-redirect", "/redoc")  # load their scripts and styles from elsewhere
EVERYWHERE = [
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
]
SECURITY_HEADERS = [*EVERYWHERE, (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'")]


class SecurityHeadersMiddleware:
    """Adds the headers to every answer. Pure ASGI."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes the request on."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = EVERYWHERE if scope["path"] in PAGES else SECURITY_HEADERS

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *headers]
            await send(message)

        await self.app(scope, receive, send_with_headers)
