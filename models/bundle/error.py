"""The one error of a bundle that cannot be used, whatever is wrong with it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from polars.exceptions import PanicException

from rqrec.models.errors import UserError

LONGEST_REASON = 300  # characters


class BundleError(UserError):
    """Raised when a bundle cannot be read; says what is wrong with it and what to do."""


@contextmanager
def reading(folder: Path, part: str) -> Iterator[None]:
    """Turns every error of the block into a `BundleError`: a bundle's content comes from outside.

    Args:
        folder: The bundle's.
        part: What of it is being read: the name of a file.

    Raises:
        BundleError: In place of any error.
    """
    try:
        yield
    except BundleError:
        raise
    except MemoryError as error:
        raise BundleError(f"not enough memory to read {part} of bundle {folder}: free some") from error
    except OSError as error:
        raise BundleError(
            f"{part} of bundle {folder} cannot be read ({error.strerror or error}): copy or publish the bundle again, "
            "readable for the user that this runs as"
        ) from error
    except (Exception, PanicException) as error:
        raise BundleError(
            f"{part} of bundle {folder} cannot be used ({_reason(error)}): copy or publish the bundle again"
        ) from error


def _reason(error: BaseException) -> str:
    """The error in one line."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:LONGEST_REASON]}" if text else type(error).__name__
