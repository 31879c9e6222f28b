"""The limits of one HTTP connection: sizes and times."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ConnectionLimits:
    """The limits of one HTTP connection: sizes and times.

    Attributes:
        max_head_bytes: Largest size of a request line and its headers together, in bytes.
        head_timeout_s: Longest time from the first byte of a request to the end of its headers, in seconds.
        body_timeout_s: Longest time from the headers of a request to the end of its body, in seconds.
        send_timeout_s: Longest time for which a client may read nothing of its answer, in seconds.
        keep_alive_s: Longest time for which a connection may be idle between two requests, in seconds.
    """

    max_head_bytes: int
    head_timeout_s: float
    body_timeout_s: float
    send_timeout_s: float
    keep_alive_s: float
