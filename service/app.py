"""Builds the app."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from asgi_correlation_id import CorrelationIdMiddleware
from fastapi import FastAPI
from fastapi.telemetry import TelemetryConfig

from service.admin import router as admin_router
from service.engine import Engine, Search
from service.errors import install_error_handlers
from service.ids import random_id
from service.limits import REQUEST_ID_HEADER, BodyLimitMiddleware, Shedding
from service.logs import log_request
from service.openapi import describe
from service.rate_limit import RateLimitMiddleware
from service.routes import FAST_ROUTES, router
from service.security_headers import SecurityHeadersMiddleware
from service.settings import Settings
from service.snapshot import search
from service.telemetry import MeasuringMiddleware, Metrics
from service.tracing import TraceMiddleware, trace_requests

API_VERSION = "1"
DESCRIPTION = "Recommendations by generating the semantic IDs of the next items."
# FastAPI's own, which asks the environment at every request whether it is wanted; see service.tracing for ours.
NO_TELEMETRY: TelemetryConfig = {"tracing": False, "metrics": False, "logs": False}
logger = logging.getLogger("rqrec")


def create_app(settings: Settings, search: Search = search) -> FastAPI:
    """The service as an ASGI app; the model is loaded when its lifespan begins.

    Args:
        settings: All settings; nothing else is read from the environment.
        search: Answers a batch; another one is for comparison.
    """
    metrics = Metrics()
    at_the_end: list[Callable[[], None]] = []
    engine = Engine(settings, metrics, search)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        await engine.start()
        logger.info("ready with model %s", engine.line_up.active.version)
        try:
            yield
        finally:
            await engine.stop()
            for finish in at_the_end:
                await asyncio.to_thread(finish)

    app = FastAPI(
        title="RQRec", version=API_VERSION, description=DESCRIPTION, lifespan=lifespan, telemetry=NO_TELEMETRY
    )
    app.state.engine = engine
    app.router.routes.extend(FAST_ROUTES)
    app.include_router(router)
    app.include_router(admin_router)
    install_error_handlers(app)
    describe(app)
    # The last one added is the first one to see a request.
    app.add_middleware(BodyLimitMiddleware, max_bytes=settings.max_body_bytes)
    if settings.rate_limit is not None:
        app.add_middleware(RateLimitMiddleware, settings=settings, gate=engine.gate, metrics=metrics)
    app.add_middleware(SecurityHeadersMiddleware)
    told = [metrics.count_request, log_request] if settings.log_requests else [metrics.count_request]
    app.add_middleware(MeasuringMiddleware, told=told)
    app.add_middleware(
        CorrelationIdMiddleware, header_name=REQUEST_ID_HEADER.decode(), generator=lambda: random_id().hex
    )
    if settings.otlp_endpoint is not None:
        at_the_end.append(trace_requests(app, settings.otlp_endpoint))
    shedding = Shedding(app.build_middleware_stack(), overloaded=engine.overloaded, told=told)
    app.middleware_stack = TraceMiddleware(shedding)
    return app
