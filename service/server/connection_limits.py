"""The limits of one connection."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ConnectionLimits:
    """The limits of one connection.

    Attributes:
        max_head_bytes: Largest request line with its headers, in bytes.
        head_timeout_s: Time for a request's headers, from its first byte, in seconds.
        body_timeout_s: Time for a request's body, from its headers, in seconds.
        send_timeout_s: How long a client may read nothing of its answer, in seconds.
        keep_alive_s: How long a connection may be idle between two requests, in seconds.
    """

    max_head_bytes: int
    head_timeout_s: float
    body_timeout_s: float
    send_timeout_s: float
    keep_alive_s: float
