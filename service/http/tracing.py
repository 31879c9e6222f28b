"""Traces of requests by OpenTelemetry, with the extra `otel`."""

from collections.abc import Callable

from fastapi import FastAPI

from rqrec.service.admission.admission import PROBES

SERVICE_NAME = "rqrec"


def add_tracing(app: FastAPI, endpoint: str) -> Callable[[], None]:
    """Lets an app send a span for every request, as a child of the one that the request names.

    Args:
        app: The app.
        endpoint: Where spans go, such as http://collector:4318/v1/traces.

    Returns:
        Sends the last spans; to be called at the end.

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
    app.add_middleware(
        OpenTelemetryMiddleware,
        tracer_provider=provider,
        excluded_urls=",".join(path.lstrip("/") for path in PROBES),
        exclude_spans=["send", "receive"],
    )
    return provider.shutdown
