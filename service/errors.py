"""The service's own errors. They know nothing of HTTP; `http/problems.py` maps each to an HTTP answer."""

from typing import ClassVar


class InvalidPart(ValueError):
    """A body field is invalid in a way the schema cannot express.

    Args:
        place: Path of the field below `within`.
        detail: What is wrong with the field.

    Attributes:
        within: Path in the body under which such fields are.
        place: Path of the field below `within`.
    """

    within: ClassVar[tuple[str, ...]] = ()

    def __init__(self, place: tuple[str, ...], detail: str) -> None:
        super().__init__(detail)
        self.place = place


class UnknownItem(Exception):
    """The catalogue does not hold the item."""


class TooLarge(Exception):
    """A request exceeds a limit on its size."""


class UnknownModel(Exception):
    """There is no bundle of this version."""


class UnusableModel(Exception):
    """A bundle cannot be served; the models that answer stay as they are."""


class AdminOff(Exception):
    """An admin route was called, but no admin token is set."""


class Unauthorized(Exception):
    """An admin route was called without the admin token."""


class Conflict(Exception):
    """A change is not allowed in the present state."""


class ReadOnly(Exception):
    """The catalogue cannot be written, because there is no Redis."""


class NotReady(Exception):
    """No model is loaded, or the service is draining."""


class RetryLater(Exception):
    """The client may send the request again later.

    Args:
        detail: Why the request is refused.
        retry_after_s: How long to wait before the next try, in seconds.

    Attributes:
        retry_after_s: How long to wait before the next try, in seconds.
    """

    def __init__(self, detail: str, *, retry_after_s: int) -> None:
        super().__init__(detail)
        self.retry_after_s = retry_after_s


class Overloaded(RetryLater):
    """The queue is full."""


class RateLimited(RetryLater):
    """A client has exceeded its rate limit."""


class DeadlinePassed(Exception):
    """The deadline of the request passed before its answer was ready."""

    def __init__(self) -> None:
        super().__init__("the deadline of this request passed before its answer was ready: set a longer timeout_ms")


class BodyTimeout(Exception):
    """The body of the request did not arrive in time."""

    def __init__(self) -> None:
        super().__init__(
            "the request's body did not arrive in time: send it at once, or set a longer RQREC_BODY_TIMEOUT_S"
        )


class BadRequest(Exception):
    """A request's line or headers are not valid HTTP."""


class UnknownCoding(BadRequest):
    """A request's body has a transfer coding that this server does not know."""


class UnsupportedEncoding(Exception):
    """A request's body is compressed."""


class HeadTooLarge(Exception):
    """A request's line and headers exceed a limit."""


class ClientGone(Exception):
    """The client closed its connection before the answer."""
