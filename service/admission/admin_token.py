"""The admin token, by which the admin routes and admission recognise an operator."""

import hmac

from starlette.types import Scope


class AdminToken:
    """A bearer token, compared in constant time.

    Args:
        secret: The token; None turns the admin routes off.
    """

    def __init__(self, secret: str | None) -> None:
        self._secret = None if secret is None else secret.encode()

    @property
    def is_set(self) -> bool:
        """Whether there is a token."""
        return self._secret is not None

    def matches(self, given: bytes) -> bool:
        """Whether a text is the token; False if none is set."""
        return self._secret is not None and hmac.compare_digest(given, self._secret)

    def is_borne_by(self, scope: Scope) -> bool:
        """Whether a request has the header `Authorization: Bearer <token>`; only the first such header counts."""
        if self._secret is None:
            return False
        given = next((value for name, value in scope["headers"] if name == b"authorization"), b"")
        return hmac.compare_digest(given, b"Bearer " + self._secret)
