"""Sends traces of requests by OpenTelemetry. Needs the optional packages of `rqrec[otel]`."""

from collections.abc import Callable

from fastapi import FastAPI
from starlette.types import Scope

from rqrec.service.admission.admission import PROBES
from rqrec.service.logs import path_without_user

SERVICE_NAME = "rqrec"
PATH_ATTRIBUTES = ("http.target", "http.url", "url.path")


def add_tracing(app: FastAPI, endpoint: str) -> Callable[[], None]:
    """Adds OpenTelemetry middleware to an app. It sends one span for each request, except for probes and scrapes.

    The span is a child of the span that the request's header `traceparent` names. No span has the id of a user.

    Args:
        app: The app.
        endpoint: Address of the OpenTelemetry collector, such as http://collector:4318/v1/traces.

    Returns:
        A function that sends the last spans and stops the sending. It must be called at shutdown.

    Raises:
        RuntimeError: If the packages of `rqrec[otel]` are not installed.
    """
    try:
        # Imported here, because a service without traces needs none of these packages.
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
        from opentelemetry.instrumentation.asgi import (  # noqa: PLC0415
            OpenTelemetryMiddleware,
            get_default_span_details,
        )
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415
    except ImportError as error:
        raise RuntimeError(f"RQREC_OTLP_ENDPOINT is set, but {error}: run `pip install 'rqrec[otel]'`") from error

    def span_details(scope: Scope) -> tuple[str, dict[str, str]]:
        path = path_without_user(scope["path"])
        name, _ = get_default_span_details({**scope, "path": path})
        return name, {} if path == scope["path"] else dict.fromkeys(PATH_ATTRIBUTES, path)

    provider = TracerProvider(resource=Resource.create({"service.name": SERVICE_NAME}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=endpoint)))
    app.add_middleware(
        OpenTelemetryMiddleware,
        tracer_provider=provider,
        excluded_urls=",".join(path.lstrip("/") for path in PROBES),
        exclude_spans=["send", "receive"],
        default_span_details=span_details,
    )
    return provider.shutdown
