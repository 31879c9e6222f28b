"""The admin token: a secret text that a request must carry to call the admin routes."""

import hmac

from starlette.types import Scope


class AdminToken:
    """Compares the tokens of requests with the admin token of the service, in constant time.

    Args:
        secret: The admin token of the service; None if it has none, which turns the admin routes off.
    """

    def __init__(self, secret: str | None) -> None:
        self._secret = None if secret is None else secret.encode()

    @property
    def is_set(self) -> bool:
        """Whether the service has an admin token."""
        return self._secret is not None

    def matches(self, given: bytes) -> bool:
        """Returns whether `given` equals the admin token. False if the service has no admin token."""
        return self._secret is not None and hmac.compare_digest(given, self._secret)

    def is_borne_by(self, scope: Scope) -> bool:
        """Returns whether the first Authorization header of a request is `Bearer <admin token>`."""
        if self._secret is None:
            return False
        given = next((value for name, value in scope["headers"] if name == b"authorization"), b"")
        return hmac.compare_digest(given, b"Bearer " + self._secret)
