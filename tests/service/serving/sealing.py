"""Seals bundles of any content, and uses them as the service does before a model answers."""

import json
from pathlib import Path

from rqrec.models.bundle.bundle import read_bundle
from rqrec.models.bundle.checksums import file_checksum, manifest_checksum
from rqrec.models.bundle.error import BundleError
from rqrec.models.bundle.golden import Golden, golden_faults
from rqrec.models.bundle.layout import FILES, MANIFEST, TEXT_FILES
from rqrec.models.items.item_tokenizer import ItemTokenizer
from rqrec.service.composition import load_options
from rqrec.service.serving.loading import load_snapshot
from rqrec.service.telemetry import Metrics
from tests.service.conftest import settings_for


def seal(folder: Path, **changes: object) -> None:
    """Writes a manifest whose checksums are right, whatever the fields and the files."""
    fields = json.loads((folder / MANIFEST).read_text()) | changes
    if isinstance(fields.get("checksums"), dict):
        names = {*FILES, *TEXT_FILES}
        fields["checksums"] = {name: file_checksum(folder / name) for name in names if (folder / name).is_file()}
        fields["checksums"][MANIFEST] = manifest_checksum(fields)
    (folder / MANIFEST).write_text(json.dumps(fields))


def use(folder: Path) -> None:
    """All that the service does before a model answers."""
    bundle = read_bundle(folder)
    snapshot = load_snapshot(bundle, load_options(settings_for(folder)), Metrics())
    if faults := golden_faults(snapshot.recommender, [Golden.from_json(fields) for fields in bundle.manifest.golden]):
        raise BundleError(faults[0])
    ItemTokenizer(bundle).load_text_encoder()
