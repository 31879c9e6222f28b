"""Atomic folders: a folder is written whole or not at all."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

FILE_MODE, FOLDER_MODE = 0o644, 0o755


@contextmanager
def new_directory(target: Path) -> Iterator[Path]:
    """Yields an empty folder that replaces the target if the block succeeds and is removed if the block fails.

    A reader of the target sees the whole old folder, no folder for an instant, or the whole new folder. This holds
    after a loss of power too, because all data is on the disk before the target changes. Every user may read the new
    folder, for any umask and any file modes that the block sets.

    Args:
        target: The folder to replace or to make.

    Yields:
        The folder to fill.
    """
    make_folder(target.parent)
    staged = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        yield staged
        _settle(staged)
        if target.exists():
            replaced = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
            target.rename(replaced / target.name)
            staged.rename(target)
            shutil.rmtree(replaced)
        else:
            staged.rename(target)
        to_disk(target.parent)
    except BaseException:
        shutil.rmtree(staged, ignore_errors=True)
        raise


def make_folder(path: Path) -> None:
    """Makes a folder and its missing parents. Every user may enter them, for any umask."""
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
    """Waits until a file, or a folder's list of entries, is on the disk and survives a loss of power."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
