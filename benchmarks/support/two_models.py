"""Makes two versions of one bundle, between which a running service can switch."""

import shutil
from dataclasses import replace
from pathlib import Path

import polars as pl

from rqrec.models.bundle.bundle import Bundle, read_bundle
from rqrec.models.bundle.layout import ITEMS
from rqrec.models.bundle.manifest import seal_bundle
from rqrec.models.bundle.store import point_current


def two_models(bundle: Bundle, folder: Path) -> dict[str, Bundle]:
    """Copies a bundle twice. The second copy has another version, and its items' texts end in "(other)".

    Args:
        bundle: The bundle to copy.
        folder: The folder of the two copies.

    Returns:
        Both bundles by version. The first is the current one.
    """
    text = next(name for name, kind in bundle.items.drop("item_id").schema.items() if kind == pl.String)
    first, second = bundle.manifest.version, f"{bundle.manifest.version}-other"
    for version in (first, second):
        shutil.copytree(bundle.path, folder / version)
    marked = bundle.items.with_columns(pl.col(text) + " (other)")
    marked.write_parquet(folder / second / ITEMS)
    seal_bundle(folder / second, replace(bundle.manifest, version=second))
    point_current(folder, first)
    return {version: read_bundle(folder / version) for version in (first, second)}
