"""Says in the log when a replica becomes ready, and until then what it waits for."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator

from rqrec.service.errors import NotReady
from rqrec.service.serving.runtime import Runtime

CHECK_EVERY_S = 0.2
logger = logging.getLogger("rqrec")


@contextlib.asynccontextmanager
async def readiness_logged(runtime: Runtime) -> AsyncIterator[None]:
    """Context manager that logs during its block why the service is not ready yet, and the moment when it is.

    Args:
        runtime: The started service.
    """
    waiting = asyncio.create_task(_tell(runtime))
    try:
        yield
    finally:
        waiting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await waiting


async def _tell(runtime: Runtime) -> None:
    version, told = runtime.deployment.active.version, ""
    while True:
        try:
            runtime.check_ready()
        except NotReady as error:
            if str(error) != told:
                logger.warning("model %s is loaded, but /readyz answers 503: %s", version, error)
            told = str(error)
        else:
            logger.info("ready with model %s", runtime.deployment.active.version)
            return
        await asyncio.sleep(CHECK_EVERY_S)
