"""Traces: the one that a request belongs to, for the logs; and spans by OpenTelemetry, with the extra `otel`."""

import logging
import re
from collections.abc import Callable
from contextvars import ContextVar

from fastapi import FastAPI
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.limits import NEVER_SHED

SERVICE_NAME = "rqrec"
# W3C Trace Context, version 00: version, trace id, parent id, flags.
TRACEPARENT = re.compile(r"00-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
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
        # Not reset at the end: a request has a context of its own, and its failure is logged further out.
        _trace_id.set(found[1] if found is not None else None)
        if found is None:
            await self.app(scope, receive, send)
            return

        async def send_with_trace(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)["traceparent"] = found.string
            await send(message)

        await self.app(scope, receive, send_with_trace)


def trace_requests(app: FastAPI, endpoint: str) -> Callable[[], None]:
    """Makes the app send a span for every request, as a child of the one that the request names.

    Args:
        app: The app.
        endpoint: Where spans go, such as http://collector:4318/v1/traces.

    Returns:
        Sends what is left; to be called at the end.

    Raises:
        RuntimeError: If the packages are not installed.
    """
    try:
        # Imported here: who does not trace need not have it.
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
        from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware  # noqa: PLC0415
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415
    except ImportError as error:
        raise RuntimeError(f"RQREC_OTLP_ENDPOINT is set, but {error}: pip install 'rqrec[otel]'") from error
    provider = TracerProvider(resource=Resource.create({"service.name": SERVICE_NAME}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=endpoint)))
    excluded = ",".join(path.lstrip("/") for path in NEVER_SHED)
    app.add_middleware(
        OpenTelemetryMiddleware, tracer_provider=provider, excluded_urls=excluded, exclude_spans=["send", "receive"]
    )
    return provider.shutdown
