"""Logs: as text for people, as JSON for programs, with the request and the trace that a line belongs to."""

import logging
import sys

from pythonjsonlogger.json import JsonFormatter
from starlette.types import Scope

from service.ids import IdsFilter
from service.settings import LogFormat, Settings

TEXT = "%(levelname)s: %(message)s"
JSON = "%(levelname)s %(name)s %(message)s %(request_id)s %(trace_id)s"
RENAMED = {"levelname": "level", "name": "logger"}
requests = logging.getLogger("rqrec.requests")


def log_request(scope: Scope, status: int, seconds: float) -> None:
    """Writes a line for an answered request."""
    fields = {"method": scope["method"], "path": scope["path"], "status": status, "took_ms": round(seconds * 1000, 3)}
    requests.info("%(method)s %(path)s %(status)s %(took_ms)s ms", fields, extra=fields)


def set_up_logs(settings: Settings) -> None:
    """Sends all logs of the process to standard error in the format of the settings."""
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(IdsFilter())
    if settings.log_format is LogFormat.JSON:
        handler.setFormatter(JsonFormatter(JSON, rename_fields=RENAMED, timestamp="time"))
    else:
        handler.setFormatter(logging.Formatter(TEXT))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
