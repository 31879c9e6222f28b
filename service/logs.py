"""Sets up the logs: as text for people, or as JSON with the ids of the request and the trace for programs."""

import logging
import re
import sys
from typing import Any

from pythonjsonlogger.core import RESERVED_ATTRS
from pythonjsonlogger.json import JsonFormatter
from starlette.types import Scope

from rqrec.service.ids import IdsFilter
from rqrec.service.settings import LogFormat

# Characters that end a line or move a terminal's cursor; a client may put them into a path.
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
USER = re.compile(r"/users/.+", re.DOTALL | re.IGNORECASE)
TEXT = "%(levelname)s: %(message)s"
JSON = "%(levelname)s %(name)s %(message)s %(request_id)s %(trace_id)s"
UNTOLD = [*RESERVED_ATTRS, "color_message"]  # uvicorn's message with the codes of a terminal's colours
RENAMED = {"levelname": "level", "name": "logger"}
logger = logging.getLogger("rqrec")
requests = logging.getLogger("rqrec.requests")


class TextFormatter(logging.Formatter):
    """A log formatter that writes each record as one line of text, and a traceback as indented lines below it.

    Control characters are escaped. So a client cannot forge a log line by a line break in the path of its request.
    """

    def formatMessage(self, record: logging.LogRecord) -> str:
        """Formats a log record as one line of text, with control characters escaped."""
        return _escaped(super().formatMessage(record))

    def formatException(self, ei: Any) -> str:
        """Formats an exception as a traceback. Each line begins with `  | `, unlike the line of a log record."""
        lines = super().formatException(ei).splitlines()
        return "\n".join(f"  | {_escaped(line)}" for line in lines)


def _escaped(text: str) -> str:
    return CONTROL.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


def path_without_user(path: str) -> str:
    """Returns the path of a request for logs and traces: the id of a user in it is replaced by `{user_id}`."""
    return USER.sub("/users/{user_id}", path)


def log_request(scope: Scope, status: int, seconds: float) -> None:
    """Logs one answered request, without the id of a user in its path.

    Args:
        scope: The request's ASGI scope.
        status: HTTP status of the answer.
        seconds: Time that the answer took, in seconds.
    """
    path, took_ms = path_without_user(scope["path"]), round(seconds * 1000, 3)
    fields = {"method": scope["method"], "path": path, "status": status, "took_ms": took_ms}
    requests.info("%(method)s %(path)s %(status)s %(took_ms)s ms", fields, extra=fields)


def set_up_logs(log_format: LogFormat) -> None:
    """Sends all logs of the process to standard error, as text or as JSON."""
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(IdsFilter())
    if log_format is LogFormat.JSON:
        handler.setFormatter(JsonFormatter(JSON, rename_fields=RENAMED, timestamp="time", reserved_attrs=UNTOLD))
    else:
        handler.setFormatter(TextFormatter(TEXT))
    logging.captureWarnings(log_format is LogFormat.JSON)
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)


def announce(line: str, log_format: LogFormat) -> None:
    """Tells people at a terminal something: a line of standard output, or with JSON a record of the log.

    Args:
        line: The line.
        log_format: The format of the logs.
    """
    if log_format is LogFormat.JSON:
        logger.info("%s", line)
    else:
        print(line, flush=True)


def complain(reason: str, log_format: LogFormat) -> None:
    """Tells why the service cannot start: a line of standard error, or with JSON a record of the log.

    Args:
        reason: The reason, in one line.
        log_format: The format of the logs.
    """
    if log_format is LogFormat.JSON:
        logger.error("%s", reason)
    else:
        print(f"rqrec: {reason}", file=sys.stderr)
