"""The errors that a user can repair, such as a wrong setting or a missing file, and how they quote another error."""


def first_line(error: Exception) -> str:
    """Returns the first line of an error's text; some libraries write a trace below it.

    Args:
        error: The error.
    """
    return (str(error).splitlines() or [""])[0]


class UserError(ValueError):
    """An error that a user can repair. The message says what was expected, what was found and how to repair it.

    A command-line program shows the user only the message. All other exceptions are bugs and show a traceback.
    """


class MissingPackage(UserError, ImportError):
    """Raised when an optional package is not installed. The message says what to install."""
