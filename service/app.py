"""Builds the app."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from fastapi import FastAPI
from fastapi.telemetry import TelemetryConfig
from starlette.types import ASGIApp

from service.admin import router as admin_router
from service.engine import Engine, Search
from service.envelope import Envelope
from service.errors import install_error_handlers
from service.logs import log_request
from service.openapi import describe
from service.rate_limit import RateLimitMiddleware
from service.routes import FastLane, router
from service.settings import Settings
from service.shedding import Shedding
from service.snapshot import search
from service.telemetry import Metrics
from service.tracing import traced

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
    app.include_router(router)
    app.include_router(admin_router)
    install_error_handlers(app)
    describe(app)
    told = [metrics.count_request, log_request] if settings.log_requests else [metrics.count_request]
    app.state.shedding = Shedding(engine.overloaded, told)
    layers: ASGIApp = FastLane(app.build_middleware_stack(), engine)
    if settings.rate_limit is not None:
        layers = RateLimitMiddleware(layers, settings=settings, gate=engine.gate, metrics=metrics)
    if settings.otlp_endpoint is not None:
        layers, send_last_spans = traced(layers, settings.otlp_endpoint)
        at_the_end.append(send_last_spans)
    app.middleware_stack = Envelope(layers, told)
    return app
