"""Reads the training report of a bundle: a page that shows people what each stage of the training did."""

from pathlib import Path

from rqrec.models.bundle.checksums import check_file
from rqrec.models.bundle.error import reading
from rqrec.models.bundle.layout import REPORT
from rqrec.models.bundle.manifest import read_manifest

# The content security policy of the page: it has inline styles, images in itself, no scripts, and loads nothing.
REPORT_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


def read_report(folder: Path) -> bytes | None:
    """Reads and verifies the training report of a bundle.

    Args:
        folder: The bundle's folder.

    Returns:
        The page as HTML in UTF-8; None if the bundle has no report.

    Raises:
        BundleError: If the manifest cannot be read, or the report is truncated or altered.
    """
    checksum = read_manifest(folder).checksums.get(REPORT)
    if checksum is None:
        return None
    check_file(folder, REPORT, checksum)
    with reading(folder, REPORT):
        return (folder / REPORT).read_bytes()
