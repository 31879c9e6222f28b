"""The errors of the service's own. They know no HTTP: `http/problems.py` says how each is answered."""

from typing import ClassVar


class InvalidPart(ValueError):
    """A part of a body is at fault in a way that its schema does not tell.

    Attributes:
        within: Where in the body such parts are.
        place: The part, from there on.
    """

    within: ClassVar[tuple[str, ...]] = ()

    def __init__(self, place: tuple[str, ...], detail: str) -> None:
        super().__init__(detail)
        self.place = place


class UnknownItem(Exception):
    """The catalogue does not hold the item."""


class TooLarge(Exception):
    """A request is over one of the limits on its size."""


class UnknownModel(Exception):
    """There is no bundle of this version."""


class UnusableModel(Exception):
    """A bundle cannot be served, and what was served goes on."""


class AdminOff(Exception):
    """An admin route was asked for, and no token is set."""


class Unauthorized(Exception):
    """An admin route was asked for without the token."""


class Conflict(Exception):
    """A change cannot be made to the catalogue as it is."""


class ReadOnly(Exception):
    """Nothing can be written here."""


class NotReady(Exception):
    """No model is loaded, or the service is draining."""


class RetryLater(Exception):
    """The request may come again, after a while.

    Attributes:
        retry_after_s: When to come back, in seconds.
    """

    def __init__(self, detail: str, *, retry_after_s: int) -> None:
        super().__init__(detail)
        self.retry_after_s = retry_after_s


class Overloaded(RetryLater):
    """More work waits than may."""


class RateLimited(RetryLater):
    """A client has had its share."""


class DeadlinePassed(Exception):
    """The request's time was up before its answer was found."""

    def __init__(self) -> None:
        super().__init__("the time given to this request was up before it was answered: see timeout_ms")


class BodyTimeout(Exception):
    """The request's body did not arrive in time."""

    def __init__(self) -> None:
        super().__init__("the request's body did not arrive in time: send it at once, see RQREC_BODY_TIMEOUT_S")


class BadRequest(Exception):
    """A request's head is not HTTP that is understood here."""


class HeadTooLarge(Exception):
    """A request's line or headers are over their limit."""


class ClientGone(Exception):
    """The client hung up before the answer; nobody reads this."""
