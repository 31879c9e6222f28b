"""The errors that a user can repair, such as a wrong setting or a missing file, and how they quote another error."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # also a quota, or a limit of file sizes
NOT_PERMITTED = (errno.EACCES, errno.EPERM, errno.EROFS)


def first_line(error: BaseException) -> str:
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
    def because(cls, error: BaseException, file: Path) -> "NotWritten":
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


def machine_fault(error: BaseException) -> tuple[BaseException, int] | None:
    """Finds out whether the operating system refused to write, because of a full disk or a missing permission.

    Libraries that are not written in Python keep the error number in the message only. Others fail in handling it.

    Args:
        error: What was raised.

    Returns:
        The error of the operating system and its number, one of `DISK_FULL` and `NOT_PERMITTED`; None for other errors.
    """
    for number in (*DISK_FULL, *NOT_PERMITTED):
        is_raised = isinstance(error, OSError) and error.errno == number
        if is_raised or f"{os.strerror(number)} (os error {number})" in str(error):
            return error, number
    return machine_fault(error.__context__) if error.__context__ is not None else None


@contextmanager
def naming(folder: Path) -> Iterator[None]:
    """Turns a refusal of the operating system to write into an error that names the folder.

    Args:
        folder: The folder in which the block writes.

    Raises:
        NotWritten: If the disk is full, or this user may not write there.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        fault = machine_fault(error)
        if fault is None:
            raise
        raise NotWritten.because(fault[0], folder) from error


def require_writable(folder: Path, what: str) -> None:
    """Checks that this user can make files in a folder.

    Args:
        folder: The folder.
        what: What the folder is, for the message, such as "the folder of --metrics".

    Raises:
        NotWritten: If there is no such folder, or this user may not write there.
    """
    if not folder.is_dir():
        raise NotWritten(f"{what} must exist, but there is no folder {folder.absolute()}: make it, or name another one")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise NotWritten(
            f"{what} must be writable, but this user may not write to {folder.absolute()}, or its disk is read-only: "
            "let this user write there"
        )
