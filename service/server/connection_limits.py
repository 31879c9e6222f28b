"""The limits of one HTTP connection: sizes and times."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ConnectionLimits:
    """The limits of one HTTP connection: sizes and times.

    Attributes:
        max_head_bytes: Largest size of a request line and its headers together, in bytes.
        head_timeout_s: Longest time from the first byte of a request to the end of its headers, in seconds. Also the
            longest time from the opening of the connection to its first byte.
        body_timeout_s: Longest time from an answer to the end of its request's body, in seconds. It is needed only if
            the answer is complete before the whole body has arrived. Before the answer, `service.admission` limits the
            time of the body.
        send_timeout_s: Longest time for which a client may be too slow in reading its answer, in seconds.
        keep_alive_s: Longest time for which a connection may be idle between two requests, in seconds.
    """

    max_head_bytes: int
    head_timeout_s: float
    body_timeout_s: float
    send_timeout_s: float
    keep_alive_s: float
