"""The service's own errors. They know nothing of HTTP; `http/problems.py` maps each to an HTTP answer."""

from typing import ClassVar


class InvalidPart(ValueError):
    """A field of a request's body is invalid in a way that the JSON schema cannot express.

    The names in `within`, followed by those in `place`, lead to the field: `filter`, then `year`, then `gte`.

    Args:
        place: Names that lead to the field, without the names in `within`, such as `("year", "gte")`.
        detail: What is wrong with the field.

    Attributes:
        within: The first names that lead to the field. A subclass sets them, such as `("filter",)` for a filter.
        place: The names after those in `within`, as given to the constructor.
    """

    within: ClassVar[tuple[str, ...]] = ()

    def __init__(self, place: tuple[str, ...], detail: str) -> None:
        super().__init__(detail)
        self.place = place


class UnknownItem(Exception):
    """The catalogue does not contain the requested item."""


class NoMap(Exception):
    """The bundle of the model has no map of its items."""


class UnknownUser(Exception):
    """The event store holds nothing of the requested user."""


class TooLarge(Exception):
    """A request exceeds a limit on its size."""


class UnknownModel(Exception):
    """No published model (bundle) of the requested version exists."""


class NoReport(Exception):
    """The bundle of a model has no training report that can be read."""


class UnusableModel(Exception):
    """A bundle (the files of a model) cannot be loaded or served. The models that serve requests now do not change."""


class AdminOff(Exception):
    """An admin route was called, but no admin token is set."""


class Unauthorized(Exception):
    """An admin route was called without the admin token."""


class Conflict(Exception):
    """A change is not possible in the present state, such as the deletion of the only item of the catalogue."""


class ReadOnly(Exception):
    """Items cannot be written or deleted, because the service uses no Redis."""


class RetryLater(Exception):
    """Base class of errors that refuse a request which the client may send again later.

    Args:
        detail: Why the request is refused.
        retry_after_s: How long to wait before the next try, in seconds.

    Attributes:
        retry_after_s: How long to wait before the next try, in seconds.
    """

    def __init__(self, detail: str, *, retry_after_s: int) -> None:
        super().__init__(detail)
        self.retry_after_s = retry_after_s


class NotReady(RetryLater):
    """The service cannot answer now: for example no model is loaded, or Redis does not answer a write.

    Args:
        detail: Why it cannot.
    """

    def __init__(self, detail: str) -> None:
        super().__init__(detail, retry_after_s=1)


class Overloaded(RetryLater):
    """Too many requests are waiting, or their bodies take too much memory."""


class RateLimited(RetryLater):
    """A client has exceeded its rate limit."""


class StoreUnavailable(RetryLater):
    """The event store did not answer in time, or answered with an error.

    Args:
        detail: What failed.
    """

    def __init__(self, detail: str) -> None:
        super().__init__(detail, retry_after_s=1)


class StoreRefused(StoreUnavailable):
    """The event store answers, but not this call: it is full, or a value in it is none that the service wrote."""


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
    """The request line or the headers of a request are not valid HTTP."""


class UnknownCoding(BadRequest):
    """A request's body has a `Transfer-Encoding` other than chunked."""


class UnsupportedEncoding(Exception):
    """A request's body is compressed, which the service does not accept."""


class HeadTooLarge(Exception):
    """The request line and the headers of a request are too long, or there are too many headers."""


class ClientGone(Exception):
    """The client closed its connection before it got the answer."""
