"""Builds the ASGI app: routes, middleware, and the runtime behind them."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from fastapi import FastAPI
from fastapi.telemetry import TelemetryConfig
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp

from rqrec.service.composition import Search, build_runtime
from rqrec.service.http.admin.routes import router as admin_router
from rqrec.service.http.browse.explorer_routes import add_explorer
from rqrec.service.http.browse.insight_routes import router as insight_router
from rqrec.service.http.browse.item_routes import router as item_router
from rqrec.service.http.browse.look_routes import router as look_router
from rqrec.service.http.browse.report_routes import router as report_router
from rqrec.service.http.docs_page import add_docs_pages
from rqrec.service.http.envelope import Envelope, Gate
from rqrec.service.http.fast_lane import FastLane
from rqrec.service.http.openapi import describe
from rqrec.service.http.problems import install_error_handlers
from rqrec.service.http.rate_limit import RateLimitMiddleware
from rqrec.service.http.routes import router
from rqrec.service.http.tracing import add_tracing
from rqrec.service.http.user_routes import router as user_router
from rqrec.service.logs import log_request
from rqrec.service.readiness_log import readiness_logged
from rqrec.service.search.batch_search import search
from rqrec.service.serving.runtime import Runtime
from rqrec.service.settings import Settings
from rqrec.service.telemetry import Metrics

API_VERSION = "1"
# The route of an item ends in any id, so the routes of `look_router` come before it.
ROUTERS = (router, look_router, item_router, report_router, insight_router, user_router, admin_router)
DESCRIPTION = "Recommendations by generating the semantic IDs of the next items."
# FastAPI's own telemetry reads the environment at every request. Ours is in http/tracing.py.
NO_TELEMETRY: TelemetryConfig = {"tracing": False, "metrics": False, "logs": False}


class _App(FastAPI):
    """FastAPI with all added middleware outside of its own layers, so that `FastLane` answers without them.

    FastAPI puts three layers outside: for errors, telemetry and large bodies. They take 10 us of every answer, and
    this service has its own parts for all three.
    """

    def build_middleware_stack(self) -> ASGIApp:
        """Builds the layers of the app, the outermost one last."""
        added, self.user_middleware = self.user_middleware, []
        app = super().build_middleware_stack()
        self.user_middleware = added
        for cls, args, kwargs in reversed(added):
            app = cls(app, *args, **kwargs)
        return app


def create_app(settings: Settings, search: Search = search) -> FastAPI:
    """Builds the service as an ASGI app. The model is loaded when the app's lifespan begins.

    Args:
        settings: All settings; nothing else is read from the environment.
        search: Function that searches one batch of requests. Tests and benchmarks replace it.
    """
    metrics = Metrics()
    runtime = build_runtime(settings, metrics, search)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        await runtime.start()
        try:
            async with readiness_logged(runtime):
                yield
        finally:
            await runtime.stop()
            for hook in shutdown_hooks:
                await asyncio.to_thread(hook)

    app = _App(
        title="RQRec",
        version=API_VERSION,
        description=DESCRIPTION,
        lifespan=lifespan,
        docs_url=None,  # added below, with assets that need no internet
        redoc_url=None,
        servers=[{"url": settings.root_path}] if settings.root_path else None,
        telemetry=NO_TELEMETRY,
        redirect_slashes=False,  # a redirect would repeat the Host header, which the client chooses
    )
    app.state.runtime = runtime
    for one in ROUTERS:
        app.include_router(one)
    add_docs_pages(app, root_path=settings.root_path)
    if settings.explorer:
        add_explorer(app)
    install_error_handlers(app)
    describe(app)
    observers = [metrics.count_request, log_request] if settings.log_requests else [metrics.count_request]
    app.state.gate = Gate(runtime.admission, metrics, observers, root_path=settings.root_path)
    shutdown_hooks = _add_middleware(app, settings, runtime, app.state.gate)
    return app


def _add_middleware(app: FastAPI, settings: Settings, runtime: Runtime, gate: Gate) -> list[Callable[[], None]]:
    """Adds the middleware, and returns functions to call at shutdown.

    Each middleware wraps those before it. A caller of `create_app` may add more around them.
    """
    shutdown_hooks: list[Callable[[], None]] = []
    app.add_middleware(FastLane, runtime=runtime, document=app.openapi)
    if settings.rate_limit is not None:
        app.add_middleware(RateLimitMiddleware, rate=settings.rate_limit, gate=runtime.gate, metrics=runtime.metrics)
    if settings.otlp_endpoint is not None:
        shutdown_hooks.append(add_tracing(app, settings.otlp_endpoint))
    app.add_middleware(Envelope, gate=gate)
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origins,
            allow_methods=["*"],
            allow_headers=["*"],
            expose_headers=["retry-after", "x-request-id"],
        )
    return shutdown_hooks
