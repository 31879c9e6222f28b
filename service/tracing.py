"""Traces of requests by OpenTelemetry, with the extra `otel`."""

from collections.abc import Callable

from starlette.types import ASGIApp

from service.shedding import NEVER_SHED

SERVICE_NAME = "rqrec"


def traced(app: ASGIApp, endpoint: str) -> tuple[ASGIApp, Callable[[], None]]:
    """An app that sends a span for every request, as a child of the one that the request names.

    Args:
        app: The app.
        endpoint: Where spans go, such as http://collector:4318/v1/traces.

    Returns:
        The app with its traces, and what sends the last of them; to be called at the end.

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
    with_spans = OpenTelemetryMiddleware(
        app, tracer_provider=provider, excluded_urls=excluded, exclude_spans=["send", "receive"]
    )
    return with_spans, provider.shutdown
