"""Locks a workspace: the folder that stores the results of all stages. Only one run at a time may use it."""

import fcntl
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from rqrec.models.errors import UserError
from rqrec.models.files import make_folder, remove_leftovers
from rqrec.training.runtime.distributed import broadcast, rank

OWNER = "run.pid"  # names the process that uses the workspace
# `new_directory` fills folders of these names; the last eight characters are random.
LEFTOVERS = (".*-????????", "bundles/.*-????????", "*-checkpoints/*/.step-*-????????")
logger = logging.getLogger("rqrec")


class WorkspaceBusy(UserError):
    """Raised when another run uses the same workspace. The message names the folder."""


@contextmanager
def locked(root: Path) -> Iterator[None]:
    """Locks the folder of a workspace until the block or the process ends. Removes what killed runs left half-written.

    Args:
        root: The folder, which is created if needed.

    Raises:
        WorkspaceBusy: If another run uses the workspace.
    """
    make_folder(root)
    handle = os.open(root, os.O_RDONLY)
    owner = root / OWNER
    try:
        if busy := broadcast(_process_in(owner) if rank() == 0 and not _lock(handle) else ""):
            raise WorkspaceBusy(
                f"another run ({busy}) uses the workspace {root}: wait until it has ended, or use another folder "
                "(--work-dir)"
            )
        if rank() == 0:
            with suppress(OSError):  # a finished workspace may be read-only, or its disk full
                owner.write_text(str(os.getpid()), encoding="utf-8")
            remove_half_written(root, *LEFTOVERS)
        try:
            yield
        finally:
            if rank() == 0:
                with suppress(OSError):
                    owner.unlink(missing_ok=True)
    finally:
        os.close(handle)  # this unlocks the workspace, and so does the end of the process


def _process_in(owner: Path) -> str:
    """Returns the process that the file of a locked workspace names."""
    try:
        return f"process {int(owner.read_text(encoding='utf-8'))}"
    except (OSError, ValueError):  # it has just begun, or runs an older release
        return "an unknown process"


def remove_half_written(root: Path, *patterns: str) -> None:
    """Removes what killed runs left half-written, and says so. What a living run writes stays.

    Args:
        root: The folder in which to look.
        patterns: The names to look for, as `Path.glob` reads them.
    """
    for pattern in patterns:
        for folder in remove_leftovers(root, pattern):
            logger.info("removed %s, which a run that was killed left half-written", folder)


def _lock(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
