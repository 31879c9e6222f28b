"""The error `BundleError`, which is raised if a bundle cannot be used for any reason."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from polars.exceptions import PanicException
from pydantic import ValidationError

from rqrec.models.errors import UserError

LONGEST_REASON = 300  # characters
MOST_FAULTS = 3  # of one document


class BundleError(UserError):
    """Raised when a bundle cannot be used. The message says what is wrong with the bundle and how to repair it."""


@contextmanager
def reading(folder: Path, part: str) -> Iterator[None]:
    """Context manager that turns every exception of its block into a `BundleError`.

    The block reads a file of a bundle. The file may have any content, so reading it may raise any exception.

    Args:
        folder: The bundle's folder, for the message.
        part: The name of the file that the block reads, for the message.

    Raises:
        BundleError: If the block raises an exception.
    """
    try:
        yield
    except BundleError:
        raise
    except MemoryError as error:
        raise BundleError(f"not enough memory to read {part} of bundle {folder}: free some memory") from error
    except OSError as error:
        raise BundleError(
            f"{part} of bundle {folder} cannot be read ({error.strerror or error}): copy or publish the bundle again, "
            "readable for the user that runs this process"
        ) from error
    except (Exception, PanicException) as error:
        raise BundleError(
            f"{part} of bundle {folder} cannot be used ({_reason(error)}): copy or publish the bundle again"
        ) from error


def _reason(error: BaseException) -> str:
    """The error's type and message in one short line."""
    text = " ".join((_faults(error) if isinstance(error, ValidationError) else str(error)).split())
    return f"{type(error).__name__}: {text[:LONGEST_REASON]}" if text else type(error).__name__


def _faults(error: ValidationError) -> str:
    """The first faults of a document, each with its place, without pydantic's own advice."""
    faults = error.errors(include_url=False, include_context=False, include_input=False)
    shown = [f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in faults[:MOST_FAULTS]]
    return "; ".join(one.removeprefix(": ") for one in shown)
