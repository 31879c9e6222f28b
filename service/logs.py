"""Logs: as text for people, as JSON for programs, with the request and the trace that a line belongs to."""

import logging
import re
import sys
import time
from contextvars import ContextVar

from asgi_correlation_id import CorrelationIdFilter
from pythonjsonlogger.json import JsonFormatter
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.settings import LogFormat, Settings

# W3C Trace Context, version 00: version, trace id, parent id, flags.
TRACEPARENT = re.compile(r"00-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
TEXT = "%(levelname)s: %(message)s"
JSON = "%(levelname)s %(name)s %(message)s %(correlation_id)s %(trace_id)s"
RENAMED = {"levelname": "level", "name": "logger", "correlation_id": "request_id"}
requests = logging.getLogger("rqrec.requests")
_trace_id: ContextVar[str | None] = ContextVar("trace_id", default=None)


class TraceFilter(logging.Filter):
    """Gives every record the `trace_id` of the request that it was written for, None outside of one."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Lets everything pass."""
        record.trace_id = _trace_id.get()
        return True


class TraceMiddleware:
    """Takes the trace from a request's `traceparent` for the logs, and passes it on to the answer. Pure ASGI."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes the request on."""
        traceparent = Headers(scope=scope).get("traceparent") if scope["type"] == "http" else None
        found = TRACEPARENT.fullmatch(traceparent) if traceparent is not None else None
        if found is None:
            await self.app(scope, receive, send)
            return

        async def send_with_trace(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)["traceparent"] = found.string
            await send(message)

        token = _trace_id.set(found[1])
        try:
            await self.app(scope, receive, send_with_trace)
        finally:
            _trace_id.reset(token)


class RequestLogMiddleware:
    """Logs a line for every request. Pure ASGI."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes the request on, and logs it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        begin, status = time.perf_counter(), 500

        async def send_and_note(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, send_and_note)
        finally:
            took_ms = round((time.perf_counter() - begin) * 1000, 3)
            fields = {"method": scope["method"], "path": scope["path"], "status": status, "took_ms": took_ms}
            requests.info("%(method)s %(path)s %(status)s %(took_ms)s ms", fields, extra=fields)


def set_up_logs(settings: Settings) -> None:
    """Sends all logs of the process to standard error in the format of the settings."""
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(CorrelationIdFilter())
    handler.addFilter(TraceFilter())
    if settings.log_format is LogFormat.JSON:
        handler.setFormatter(JsonFormatter(JSON, rename_fields=RENAMED, timestamp="time"))
    else:
        handler.setFormatter(logging.Formatter(TEXT))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
