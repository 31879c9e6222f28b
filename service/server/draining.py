"""Serves over HTTP, and ends without losing a request that was accepted."""

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

from rqrec.service.server.connection import Front, connection_class
from rqrec.service.server.connection_table import ConnectionTable
from rqrec.service.serving.runtime import Runtime

BODIES_S = 1.0  # for bodies that are on their way when new requests are refused
SLOW_READERS_S = 5.0  # for clients that have not read their answer by then
LINGER_S = 0.5  # for who has just got an answer, and for connections that the process has not yet taken in
LOOK_EVERY_S = 0.02
START_FAILED = 3
logger = logging.getLogger("rqrec")


class DrainingServer(uvicorn.Server):
    """A server that SIGTERM and SIGINT end in three steps.

    For `drain_s`, while load balancers take note, /readyz answers 503 and all else is answered. Then new requests get
    503 until those accepted before are answered, `grace_s` at the most, and a moment longer. Then it closes. Until then
    /healthz answers 200, and every answer asks its client to come with a new connection. A second SIGINT ends at once.

    Args:
        config: Uvicorn's.
        runtime: Of the app.
    """

    def __init__(self, config: uvicorn.Config, runtime: Runtime) -> None:
        super().__init__(config)
        self._runtime = runtime

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Drains, then closes."""
        settings = self._runtime.settings
        logger.info("draining: not ready any more, answering for %.1f s", settings.drain_s)
        self.server_state.default_headers.append((b"connection", b"close"))
        self._runtime.begin_drain()
        await self._wait(settings.drain_s)
        self._runtime.stop_accepting()
        give_up = time.monotonic() + settings.grace_s
        accepted = set(self.server_state.tasks)
        await self._wait(min(BODIES_S, settings.grace_s), accepted)
        for connection in self.server_state.connections:
            connection.cut_body()  # type: ignore[union-attr]
        await self._wait(give_up - time.monotonic(), accepted)
        await self._wait(LINGER_S)
        left_s = min(give_up - time.monotonic(), SLOW_READERS_S)
        self.config.timeout_graceful_shutdown = max(math.ceil(left_s), 1)
        await super().shutdown(sockets)

    async def _wait(self, seconds: float, until_done: Iterable["asyncio.Task[None]"] | None = None) -> None:
        """Waits for a time or, where tasks are given, until all of them are done, if that is sooner."""
        end = time.monotonic() + seconds
        while time.monotonic() < end and not self.force_exit:
            if until_done is not None and all(task.done() for task in until_done):
                return
            await asyncio.sleep(LOOK_EVERY_S)


def serve(app: FastAPI) -> None:
    """Serves an app of `create_app` until a signal; exits 3 where it does not start, or its address is taken."""
    runtime: Runtime = app.state.runtime
    settings, identity = runtime.settings, runtime.admission.identity
    front = Front(settings, ConnectionTable(settings, runtime.metrics, identity.is_proxy), app.state.gate.admit)
    config = uvicorn.Config(
        app,
        http=connection_class(front),
        ws="none",
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,
        proxy_headers=False,
    )
    server = DrainingServer(config, runtime)
    with contextlib.suppress(KeyboardInterrupt):
        server.run()
    if not server.started:
        sys.exit(START_FAILED)
