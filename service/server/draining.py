"""Runs the HTTP server, and shuts it down without losing a request that was accepted."""

import asyncio
import contextlib
import logging
import math
import socket
import sys
import time
from collections.abc import Iterable

import uvicorn
from fastapi import FastAPI

from rqrec.service.logs import announce, complain
from rqrec.service.server.connection import connection_class
from rqrec.service.server.connection_limits import ConnectionLimits
from rqrec.service.server.connection_table import ConnectionTable
from rqrec.service.serving.runtime import Runtime
from rqrec.service.settings import Settings

BODIES_S = 1.0  # for bodies that are still arriving when new requests are refused
SLOW_READERS_S = 5.0  # for clients that have not read their answer yet
LINGER_S = 0.5  # for clients that have just got an answer, and for connections that wait in the kernel's queue
POLL_S = 0.02
START_FAILED = 3
logger = logging.getLogger("rqrec")


class DrainingServer(uvicorn.Server):
    """An HTTP server that shuts down in three steps on SIGTERM or SIGINT.

    1. For `drain_s` seconds /readyz answers 503, so that load balancers stop sending traffic. All other requests are
       answered as usual.
    2. New requests that need the model are refused with 503. The server waits up to `grace_s` seconds until all
       accepted requests are answered.
    3. The server closes all connections.

    /healthz answers 200 until step 3. During the shutdown every answer has the header `connection: close`. A second
    SIGINT ends the process at once.

    Args:
        config: Uvicorn's configuration.
        runtime: The running service.
        settings: The settings of the service: `drain_s` and `grace_s`, and the address, which is printed at the start.
    """

    def __init__(self, config: uvicorn.Config, runtime: Runtime, settings: Settings) -> None:
        super().__init__(config)
        self._runtime = runtime
        self._settings = settings
        self._drain_s = settings.drain_s
        self._grace_s = settings.grace_s

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Loads the model, binds the port, and prints the address of the service."""
        host = f"[{self._settings.host}]" if ":" in self._settings.host else self._settings.host
        try:
            await super().startup(sockets)
        except SystemExit:
            if self.lifespan.should_exit:  # the app cannot start, and has said why
                raise
            # Uvicorn has logged the operating system's error.
            address = f"{host}:{self._settings.port}"
            reason = f"cannot listen on {address}: set RQREC_PORT or RQREC_HOST to a free address"
            complain(reason, self._settings.log_format)
            raise
        if self.started:
            port = self.servers[0].sockets[0].getsockname()[1]
            address = f"http://{host}:{port}{self._settings.root_path}"
            pages = f"its pages: {address}/ and" if self._settings.explorer else "its page:"
            announce(f"serving on {address} - {pages} {address}/docs", self._settings.log_format)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Shuts the server down: lets load balancers go away, answers the accepted requests, closes all connections.

        The docstring of `DrainingServer` describes these three steps.
        """
        logger.info("draining: /readyz answers 503, requests are still answered for %.1f s", self._drain_s)
        self.server_state.default_headers.append((b"connection", b"close"))
        self._runtime.begin_drain()
        await self._wait(self._drain_s)
        self._runtime.stop_accepting()
        give_up = time.monotonic() + self._grace_s
        accepted = set(self.server_state.tasks)
        await self._wait(min(BODIES_S, self._grace_s), accepted)
        for connection in self.server_state.connections:
            connection.cut_body()  # type: ignore[union-attr]
        await self._wait(give_up - time.monotonic(), accepted)
        await self._wait(LINGER_S)
        left_s = min(give_up - time.monotonic(), SLOW_READERS_S)
        self.config.timeout_graceful_shutdown = max(math.ceil(left_s), 1)
        await super().shutdown(sockets)

    async def _wait(self, seconds: float, until_done: Iterable["asyncio.Task[None]"] | None = None) -> None:
        """Waits for some seconds, or less if all given tasks are done earlier."""
        end = time.monotonic() + seconds
        while time.monotonic() < end and not self.force_exit:
            if until_done is not None and all(task.done() for task in until_done):
                return
            await asyncio.sleep(POLL_S)


def serve(app: FastAPI, settings: Settings) -> None:
    """Serves an app until SIGTERM or SIGINT. Exits with status 3 if the app cannot start.

    Args:
        app: The app, made by `create_app`.
        settings: The settings that the app was made with.
    """
    runtime: Runtime = app.state.runtime
    limits = ConnectionLimits(
        max_head_bytes=settings.max_head_bytes,
        head_timeout_s=settings.head_timeout_s,
        body_timeout_s=settings.body_timeout_s,
        send_timeout_s=settings.send_timeout_s,
        keep_alive_s=settings.keep_alive_s,
    )
    table = ConnectionTable(
        runtime.metrics,
        max_connections=settings.max_connections,
        max_client_connections=settings.max_client_connections,
        is_shared=runtime.admission.identity.is_proxy,
    )
    config = uvicorn.Config(
        app,
        http=connection_class(limits, table, app.state.gate.admit),
        ws="none",
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,
        proxy_headers=False,
    )
    server = DrainingServer(config, runtime, settings)
    with contextlib.suppress(KeyboardInterrupt):
        server.run()
    if not server.started:
        sys.exit(START_FAILED)
