"""The errors that a user can repair, such as a wrong setting or a missing file, and how they quote another error."""

from pathlib import Path


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


class NotWritten(UserError):
    """Raised when a file cannot be written, for example because the disk is full. An old file stays as it was."""

    @classmethod
    def because(cls, error: Exception, file: Path) -> "NotWritten":
        """Makes the error of a command that goes on where it was.

        Args:
            error: Why the file cannot be written.
            file: The file.
        """
        return cls(
            f"{file} cannot be written ({first_line(error)}): free space there, or let this user write there, and run "
            "the same command again, which goes on"
        )


class MissingPackage(UserError, ImportError):
    """Raised when an optional package is not installed. The message says what to install."""
