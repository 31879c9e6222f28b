"""Functions for a folder of bundles: they list its versions, and read and set its link `current` to one of them.

To read one of the bundles, call `models.bundle.bundle.read_version`.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from rqrec.models.bundle.error import BundleError, reading
from rqrec.models.bundle.layout import CURRENT, MANIFEST
from rqrec.models.bundle.manifest import read_manifest
from rqrec.models.files import to_disk


def bundles_at_hand(path: Path) -> dict[str, Path]:
    """Lists the bundles of a folder without verifying them.

    A bundle whose folder cannot be read is left out. It does not prevent listing the other bundles.

    Args:
        path: A folder of bundles, or one bundle's folder.

    Returns:
        A dictionary from the version to the path of the bundle's folder; empty if there are no bundles. If `path` is
        one bundle's folder, the dictionary has only this bundle.
    """
    if _is_file(path / MANIFEST) and not _is_file(path / CURRENT / MANIFEST):
        try:
            return {read_manifest(path.resolve()).version: path.resolve()}
        except BundleError:
            return {path.resolve().name: path.resolve()}
    try:
        folders = sorted(path.iterdir())
    except OSError:
        return {}
    shown = (folder for folder in folders if not folder.is_symlink() and not folder.name.startswith("."))
    return {folder.name: folder.absolute() for folder in shown if _is_file(folder / MANIFEST)}


def current_version(path: Path) -> str:
    """Returns the version of the bundle to which a path leads.

    Args:
        path: A folder of bundles, whose link `current` names the bundle; or the bundle's own folder.

    Raises:
        BundleError: If there is no such bundle, or its manifest cannot be used.
    """
    return read_manifest(bundle_folder(path)).version


def is_retrained_from(bundles: Path, ancestor: str) -> bool:
    """Whether retrainings led from a bundle to the one that `current` names.

    If a bundle between the two was removed, they are taken for related.

    Args:
        bundles: The folder of bundles.
        ancestor: The version of the bundle that stood first.

    Returns:
        False if `current` names the bundle `ancestor` itself, a bundle of another full training, or nothing.
    """
    try:
        parent = read_manifest(bundle_folder(bundles)).retrained_from
    except BundleError:
        return False
    while parent not in ("", ancestor):
        try:
            parent = read_manifest(bundles / parent).retrained_from
        except BundleError:
            return True
    return parent == ancestor


def target_of_current(bundles: Path) -> str:
    """Returns the name of the folder that the `current` link of a folder of bundles names; empty without a link.

    Args:
        bundles: The folder of bundles.
    """
    try:
        return (bundles / CURRENT).readlink().name
    except OSError:
        return ""


def point_current(bundles: Path, version: str, *, instead_of: str | None = None) -> bool:
    """Sets the `current` link of a folder of bundles to a version, in one atomic step.

    Args:
        bundles: The folder of bundles.
        version: The version, which is the name of the bundle's folder.
        instead_of: What the link must name now, as `target_of_current` returns it; None for anything.

    Returns:
        Whether the link names the version now. False if it names another bundle than expected.

    Raises:
        BundleError: If `current` is no link.
    """
    require_current_link(bundles)
    with _locked(bundles):
        if instead_of is not None and target_of_current(bundles) not in (instead_of, version):
            return False
        staged = bundles / f".{CURRENT}"  # of one name, so nothing stays of a process that was killed here
        staged.unlink(missing_ok=True)
        staged.symlink_to(version)
        staged.replace(bundles / CURRENT)
    to_disk(bundles)
    return True


def require_current_link(bundles: Path) -> None:
    """Checks that `current` can be set: a copy of a folder of bundles may have a folder in place of the link.

    Args:
        bundles: The folder of bundles, which need not exist.

    Raises:
        BundleError: If `current` is no link.
    """
    current = bundles / CURRENT
    if current.exists() and not current.is_symlink():
        raise BundleError(
            f"{current} must be a link to a bundle beside it, and it is none: a copy without its links? Remove it, and "
            f"set the link: ln -sfn VERSION {current}"
        )


@contextmanager
def _locked(bundles: Path) -> Iterator[None]:
    """Lets one process at a time set the link."""
    handle = os.open(bundles, os.O_RDONLY)
    try:
        with suppress(OSError):  # a file system without locks
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def bundle_folder(path: Path) -> Path:
    """Finds the folder of the bundle to which a path leads.

    Args:
        path: A folder of bundles, or one bundle's folder.

    Returns:
        The absolute path of the folder that the link `current` names, or of `path` itself if it has no such link.

    Raises:
        BundleError: If the `current` link names no bundle.
    """
    with reading(path, CURRENT):
        current = path / CURRENT
        if current.is_symlink() and not _is_file(current / MANIFEST):
            raise BundleError(
                f"{current} names {current.readlink()}, and no bundle is there: make it name one of "
                f"{sorted(bundles_at_hand(path))}, or publish again"
            )
        return (current if _is_file(current / MANIFEST) else path).resolve()


def _is_file(path: Path) -> bool:
    """Whether this user can see a file at the path."""
    try:
        return path.is_file()
    except OSError:
        return False
