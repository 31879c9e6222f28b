"""Errors that a user can mend."""


class UserError(ValueError):
    """An error made for a user: its message says what was expected, what came and what to do.

    A command line shows the message alone. Every other error is a fault of the program and keeps its traceback.
    """


class MissingPackage(UserError, ImportError):
    """Raised when an optional package is not installed; says what to install."""
