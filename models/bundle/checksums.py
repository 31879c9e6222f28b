"""Computes the checksums of a bundle's files and of its manifest. They show whether a bundle is damaged."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

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
