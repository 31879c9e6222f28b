"""Reads the manifests of all bundles in a folder."""

from pathlib import Path

from rqrec.models.bundle.error import BundleError
from rqrec.models.bundle.manifest import Manifest, read_manifest
from rqrec.models.bundle.store import bundles_at_hand


def read_manifests(bundles: Path) -> dict[str, Manifest | BundleError]:
    """Returns, by model version, the manifest of each bundle in a folder, or the error if it cannot be read."""
    found: dict[str, Manifest | BundleError] = {}
    for version, folder in bundles_at_hand(bundles).items():
        try:
            found[version] = read_manifest(folder)
        except BundleError as error:
            found[version] = error
        except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            found[version] = BundleError(f"the manifest of {folder} cannot be read ({type(error).__name__}: {error})")
    return found
