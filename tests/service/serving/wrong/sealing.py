"""Writes manifests for bundles of any content, and loads them as the service does."""

import json
from pathlib import Path

from rqrec.models.bundle.bundle import read_bundle
from rqrec.models.bundle.checksums import file_checksum, manifest_checksum
from rqrec.models.bundle.error import BundleError
from rqrec.models.bundle.golden import Golden, golden_faults
from rqrec.models.bundle.layout import FILES, MANIFEST, MAP, MEANINGS, TEXT_FILES, TRANSITIONS
from rqrec.models.items.item_tokenizer import ItemTokenizer
from rqrec.service.composition import load_options
from rqrec.service.serving.loading import load_snapshot
from rqrec.service.telemetry import Metrics
from tests.service.conftest import settings_for


def seal(folder: Path, **changes: object) -> None:
    """Writes a manifest with any fields, and with the right checksums of the files."""
    fields = json.loads((folder / MANIFEST).read_text()) | changes
    if isinstance(fields.get("checksums"), dict):
        names = {*FILES, *TEXT_FILES, TRANSITIONS, MEANINGS, MAP}
        fields["checksums"] = {name: file_checksum(folder / name) for name in names if (folder / name).is_file()}
        fields["checksums"][MANIFEST] = manifest_checksum(fields)
    (folder / MANIFEST).write_text(json.dumps(fields))


def use(folder: Path) -> None:
    """Does all that the service does with a bundle before it answers requests."""
    bundle = read_bundle(folder)
    snapshot = load_snapshot(bundle, load_options(settings_for(folder)), Metrics())
    if faults := golden_faults(snapshot.recommender, [Golden.from_json(fields) for fields in bundle.manifest.golden]):
        raise BundleError(faults[0])
    ItemTokenizer(bundle).load_text_encoder()
