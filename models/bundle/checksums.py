"""Computes the checksums of a bundle's files and of its manifest. They show whether a bundle is damaged."""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from rqrec.models.bundle.error import BundleError, reading
from rqrec.models.bundle.layout import MANIFEST


def file_checksum(path: Path) -> str:
    """Returns the SHA-256 of a file's content as a hexadecimal string."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def manifest_checksum(fields: Mapping[str, Any]) -> str:
    """Returns the SHA-256 of a manifest's fields as a hexadecimal string.

    Args:
        fields: The fields of `models.bundle.manifest.Manifest` by name. In its `checksums`, the checksum of the
            manifest itself is ignored.
    """
    others = {name: checksum for name, checksum in fields["checksums"].items() if name != MANIFEST}
    return hashlib.sha256(json.dumps({**fields, "checksums": others}, sort_keys=True).encode()).hexdigest()


def check_file(folder: Path, name: str, checksum: str | None) -> None:
    """Checks that a bundle's file is there and has the content that its checksum says.

    Args:
        folder: The bundle's folder.
        name: The name of the file.
        checksum: The SHA-256 that the manifest has for the file, hexadecimal; None if it has none.

    Raises:
        BundleError: If the file is missing, cannot be read, or has another content.
    """
    with reading(folder, name):
        if not (folder / name).is_file():
            raise BundleError(f"bundle {folder} lacks {name}: it was copied in part; copy or publish it again")
        if file_checksum(folder / name) != checksum:
            raise BundleError(
                f"{name} of bundle {folder} does not match the checksum in its manifest: the file was truncated or "
                "altered; copy or publish the bundle again"
            )


def check_files(folder: Path, names: Sequence[str], checksums: Mapping[str, str]) -> None:
    """Checks that a bundle's files are there and have the content that their checksums say. Uses all cores.

    Args:
        folder: The bundle's folder.
        names: The names of the files.
        checksums: The SHA-256 that the manifest has for each file, hexadecimal.

    Raises:
        BundleError: If a file is missing, cannot be read, or has another content.
    """
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:  # hashing releases the GIL
        checks = [pool.submit(check_file, folder, name, checksums.get(name)) for name in names]
        for check in checks:
            check.result()
