"""Folders that are written whole or not at all."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

FILE_MODE, FOLDER_MODE = 0o644, 0o755


@contextmanager
def new_directory(target: Path) -> Iterator[Path]:
    """Yields a fresh folder that takes the target's place if the block succeeds, and is removed if it fails.

    Whoever looks at the target sees the whole old folder, for an instant none, or the whole new one. After a loss of
    power too: all is on the disk before the target changes. Every user may read the new folder, whatever the umask and
    whatever modes the block's files were made with.
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
    """Makes a folder, and those above it that are missing, which every user may enter whatever the umask."""
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    for folder in reversed(missing):
        folder.mkdir(exist_ok=True)
        folder.chmod(FOLDER_MODE)


def _settle(folder: Path) -> None:
    """Lets every user read a folder and all that it holds, and brings it to the disk."""
    for path in (*folder.rglob("*"), folder):
        path.chmod(FOLDER_MODE if path.is_dir() else FILE_MODE)
        to_disk(path)


def to_disk(path: Path) -> None:
    """Waits until a file, or the entries of a folder, would outlast a loss of power."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
