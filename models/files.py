"""Writes files and folders atomically. Readers of a folder see the complete old or the complete new one, never a part.

For an instant, while the new folder replaces the old one, readers may see no folder.
"""

import fcntl
import os
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

FILE_MODE, FOLDER_MODE = 0o644, 0o755
UNFINISHED = ".unfinished-"  # the beginning of the names of files that are being written


@contextmanager
def new_directory(target: Path) -> Iterator[Path]:
    """Writes a folder atomically: yields an empty temporary folder, which replaces the target when the block ends.

    If the block raises an error, the temporary folder is removed and the target stays as it was. At any moment the
    target is the complete old folder or the complete new folder, or is missing for the instant between the two. This
    holds after a loss of power too, because all data is on the disk before the target changes. Every user may read the
    new folder, whatever the umask and whatever file modes the block sets.

    Args:
        target: The path of the folder to create or to replace.

    Yields:
        The path of the temporary folder, which the block fills with files.
    """
    make_folder(target.parent)
    with _temporary_folder(target) as staged:
        yield staged
        _settle(staged)
        if target.exists():
            with _temporary_folder(target) as replaced:
                target.rename(replaced / target.name)
                staged.rename(target)
        else:
            staged.rename(target)
        to_disk(target.parent)


@contextmanager
def _temporary_folder(target: Path) -> Iterator[Path]:
    """Makes an empty folder beside the target, and removes it at the end of the block, unless it was renamed.

    Its lock ends with this process, so `remove_leftovers` can tell whether somebody still writes there.
    """
    while True:
        folder = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
        with suppress(FileNotFoundError):  # `remove_leftovers` can remove a folder that has no lock yet
            handle = os.open(folder, os.O_RDONLY)
            with suppress(OSError):  # a file system without locks: leftovers stay there
                fcntl.flock(handle, fcntl.LOCK_EX)
            if folder.exists():
                break
            os.close(handle)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(handle)


def remove_leftovers(folder: Path, pattern: str) -> list[Path]:
    """Removes temporary folders of `new_directory` whose process was killed. Those of living processes stay.

    Args:
        folder: The folder in which to look.
        pattern: The names to look for, as `Path.glob` reads them. The last eight characters are random.

    Returns:
        The removed folders.
    """
    return [found for found in sorted(folder.glob(pattern)) if _is_removed(found)]


def _is_removed(leftover: Path) -> bool:
    """Removes a temporary folder, unless a process holds its lock, and returns whether it is gone."""
    if leftover.is_symlink() or not leftover.is_dir():
        return False
    try:
        handle = os.open(leftover, os.O_RDONLY)
    except OSError:  # of another user, or removed meanwhile
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(leftover, ignore_errors=True)
    except OSError:  # somebody writes there, or the file system has no locks
        return False
    finally:
        os.close(handle)
    return not leftover.exists()


def write_file(target: Path, write: Callable[[Path], object]) -> None:
    """Writes a file atomically: it is whole or missing, also after a loss of power.

    Several processes may write the same file at the same time; the last one counts. A killed process leaves a file
    whose name begins with `UNFINISHED`.

    Args:
        target: The path of the file. Its folder is created if needed.
        write: Writes the content to the path that it is given.
    """
    if not target.parent.exists():
        target.parent.mkdir(exist_ok=True)
        to_disk(target.parent.parent)
    unfinished = target.with_name(f"{UNFINISHED}{uuid.uuid4().hex}-{target.name}")
    try:
        write(unfinished)
        to_disk(unfinished)
        unfinished.rename(target)
    except BaseException:  # such as a full disk
        unfinished.unlink(missing_ok=True)
        raise
    to_disk(target.parent)


def make_folder(path: Path) -> None:
    """Creates a folder and its missing parents, with mode 755 whatever the umask. Existing folders stay as they are."""
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    for folder in reversed(missing):
        folder.mkdir(exist_ok=True)
        folder.chmod(FOLDER_MODE)


def _settle(folder: Path) -> None:
    """Makes a folder and its content readable for every user and writes them to the disk."""
    for path in (*folder.rglob("*"), folder):
        path.chmod(FOLDER_MODE if path.is_dir() else FILE_MODE)
        to_disk(path)


def to_disk(path: Path) -> None:
    """Flushes a file, or a folder's list of entries, to the disk by `fsync`, so that it survives a loss of power."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
