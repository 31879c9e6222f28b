"""Checksums of a bundle's files and of its manifest, by which a damaged bundle is found."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rqrec.models.bundle.layout import MANIFEST


def file_checksum(path: Path) -> str:
    """The SHA-256 of a file's content, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def manifest_checksum(fields: Mapping[str, Any]) -> str:
    """The SHA-256 of a manifest's fields without its own checksum, hexadecimal."""
    others = {name: checksum for name, checksum in fields["checksums"].items() if name != MANIFEST}
    return hashlib.sha256(json.dumps({**fields, "checksums": others}, sort_keys=True).encode()).hexdigest()
