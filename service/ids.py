"""Reads and makes the ids of requests, traces and recommendations.

The ids must be unique, but need not be secret. So the module `random` makes them. `uuid.uuid4` would read random bytes
from the operating system. That would be a tenth of all the time that the service spends on a request that it refuses.
"""

import logging
import random
import re
import time
from collections.abc import Iterable
from contextvars import ContextVar

Header = tuple[bytes, bytes]

REQUEST_ID, TRACEPARENT = b"x-request-id", b"traceparent"
UUID_TEXT = re.compile(rb"[0-9a-fA-F]{32}|[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
# W3C Trace Context, version 00: version, trace id, parent id, flags.
TRACE = re.compile(rb"00-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
NO_VERSION, VERSION_4 = ~(0xF << 76 | 0x3 << 62), 0x4 << 76 | 0x2 << 62  # RFC 9562, section 5.4
VERSION_7 = 0x7 << 76 | 0x2 << 62  # section 5.7
request_id: ContextVar[str] = ContextVar("request_id", default="")
trace_id: ContextVar[str | None] = ContextVar("trace_id", default=None)


def take_ids(headers: Iterable[Header]) -> list[Header]:
    """Reads the ids in the headers `x-request-id` and `traceparent` of a request, and stores them for its log lines.

    A request without a valid `x-request-id` gets a new random id. The ids are context variables (`contextvars`), so
    each request has its own. They stay set after the answer, because a middleware may still log a failure.

    Args:
        headers: The request's headers, names in lower case.

    Returns:
        Headers for the answer: `x-request-id`, and `traceparent` if the request has a valid one.
    """
    own = trace = None
    for name, value in headers:
        if name == REQUEST_ID and UUID_TEXT.fullmatch(value):
            own = value
        elif name == TRACEPARENT:
            trace = TRACE.fullmatch(value)
    if own is None:
        own = f"{_random_bits():032x}".encode()
    request_id.set(own.decode())
    if trace is None:
        trace_id.set(None)
        return [(REQUEST_ID, own)]
    trace_id.set(trace[1].decode())
    return [(REQUEST_ID, own), (TRACEPARENT, trace[0])]


def random_uuid() -> str:
    """Returns a random UUID of version 4 as text of 36 characters."""
    digits = f"{_random_bits():032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def uuid_by_time() -> str:
    """Returns a UUID of version 7 as text. A later one is greater, so a database adds it at the end of an index."""
    bits = time.time_ns() // 1_000_000 << 80 | random.getrandbits(80)
    digits = f"{bits & NO_VERSION | VERSION_7:032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def _random_bits() -> int:
    return random.getrandbits(128) & NO_VERSION | VERSION_4


class IdsFilter(logging.Filter):
    """A logging filter that adds the fields `request_id` and `trace_id` to every log record.

    Outside of a request both are None. `trace_id` is also None if the request has no valid `traceparent`.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Adds the request's id and trace id to a log record. Always returns True, so that no record is dropped."""
        record.request_id, record.trace_id = request_id.get() or None, trace_id.get()
        return True
