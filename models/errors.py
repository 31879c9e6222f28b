"""Errors that a user can repair."""


class UserError(ValueError):
    """An error made for a user. The message says what was expected, what was found and how to repair it.

    A command line shows only the message. Every other error is a bug in the program and keeps its traceback.
    """


class MissingPackage(UserError, ImportError):
    """Raised when an optional package is not installed. The message says what to install."""
