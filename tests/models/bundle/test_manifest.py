import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from rqrec.models.bundle.bundle import Bundle
from rqrec.models.bundle.error import BundleError
from rqrec.models.bundle.layout import FORMAT, MANIFEST, READABLE_FORMATS, RELEASES, TRANSITIONS
from rqrec.models.bundle.manifest import read_manifest, seal_bundle
from rqrec.models.search.history.own_weights import AGE_CLASSES, MOST_COUNTED, OwnItemWeights


@pytest.fixture
def copy(bundle: Bundle, tmp_path: Path) -> Path:
    return Path(shutil.copytree(bundle.path, tmp_path / "bundle"))


def edit_manifest(folder: Path, **fields: object) -> None:
    path = folder / MANIFEST
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def test_refuses_a_newer_format_and_says_to_upgrade(copy: Path) -> None:
    edit_manifest(copy, format=FORMAT + 1)
    with pytest.raises(
        BundleError, match=rf"bundle format {FORMAT + 1} .* is not readable .*: install a newer release"
    ):
        read_manifest(copy)


def test_refuses_an_older_format_and_says_to_publish_again(copy: Path) -> None:
    edit_manifest(copy, format=1)
    readable = ", ".join(map(str, READABLE_FORMATS))
    with pytest.raises(
        BundleError,
        match=rf"bundle format 1 .* \(expected {readable}\): no release of rqrec reads it; publish .* again",
    ):
        read_manifest(copy)


def test_refuses_a_released_format_and_names_the_release_that_reads_it(
    copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rqrec.models.bundle.manifest.READABLE_FORMATS", (FORMAT + 1, FORMAT + 2))
    with pytest.raises(
        BundleError, match=rf"\(expected {FORMAT + 1}, {FORMAT + 2}\): install rqrec {RELEASES[FORMAT]}, which reads it"
    ):
        read_manifest(copy)


def test_refuses_an_altered_manifest(copy: Path) -> None:
    edit_manifest(copy, version="other")
    with pytest.raises(BundleError, match="does not match its own checksum: it was altered"):
        read_manifest(copy)


def test_refuses_unknown_fields(copy: Path) -> None:
    edit_manifest(copy, surprise=1)
    with pytest.raises(BundleError, match="missing or unknown fields .*surprise"):
        read_manifest(copy)


@pytest.mark.parametrize("content", [b"{", b"\xff\xfe", b"[]"])
def test_refuses_a_broken_manifest(copy: Path, content: bytes) -> None:
    (copy / MANIFEST).write_bytes(content)
    with pytest.raises(BundleError):
        read_manifest(copy)


def test_defaults_are_not_written_and_what_is_absent_has_its_default(copy: Path) -> None:
    written = json.loads((copy / MANIFEST).read_text())
    assert not {"exclude_history", "own_items"} & set(written)
    manifest = read_manifest(copy)
    assert manifest.exclude_history
    assert manifest.history_bonus.own is None


def test_other_values_are_written_and_checked(copy: Path) -> None:
    weights = {"by_count": [1.5] * MOST_COUNTED, "by_age": [0.5] * AGE_CLASSES}
    seal_bundle(copy, replace(read_manifest(copy), exclude_history=False, own_items=weights))
    manifest = read_manifest(copy)
    assert not manifest.exclude_history
    assert manifest.history_bonus.own == OwnItemWeights.from_fields(weights)
    seal_bundle(copy, replace(manifest, own_items={"by_count": [1.0]}))
    with pytest.raises(BundleError, match="finite weights of own items"):
        read_manifest(copy)
    (copy / TRANSITIONS).touch()
    seal_bundle(copy, replace(manifest, following_weight=float("inf")))
    with pytest.raises(BundleError, match="following_weight must be finite"):
        read_manifest(copy)
