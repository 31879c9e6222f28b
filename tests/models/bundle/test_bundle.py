import shutil
from pathlib import Path

import numpy as np
import pytest

from rqrec.models.bundle.bundle import Bundle, read_bundle
from rqrec.models.bundle.error import BundleError
from rqrec.models.bundle.layout import FEATURES, FILES, MANIFEST, MAP, MEANINGS, REPORT, SEARCH_GRAPH


@pytest.fixture
def copy(bundle: Bundle, tmp_path: Path) -> Path:
    return Path(shutil.copytree(bundle.path, tmp_path / "bundle"))


def test_reads_what_was_published(bundle: Bundle) -> None:
    assert bundle.manifest.num_items == len(bundle.items) == 64
    assert bundle.manifest.dataset == "shop"
    assert set(bundle.manifest.checksums) == {*FILES, FEATURES, MANIFEST, MAP, MEANINGS, REPORT}
    assert {"rqrec", "popularity", "item-kNN", "data", "tokenizer"} == set(bundle.manifest.metrics)
    assert "DecoderSettings.width = 16" in bundle.manifest.config
    assert bundle.items.columns == ["item_id", "title", "year", "genres"]


@pytest.mark.parametrize("name", FILES)
def test_refuses_a_truncated_file(copy: Path, name: str) -> None:
    content = (copy / name).read_bytes()
    (copy / name).write_bytes(content[:-1])
    with pytest.raises(BundleError, match=f"{name} of bundle .* truncated or altered; copy or publish"):
        read_bundle(copy)


@pytest.mark.parametrize("name", FILES)
def test_refuses_an_altered_file(copy: Path, name: str) -> None:
    content = bytearray((copy / name).read_bytes())
    content[len(content) // 2] ^= 1
    (copy / name).write_bytes(content)
    with pytest.raises(BundleError, match="does not match the checksum"):
        read_bundle(copy)


def test_refuses_a_missing_file(copy: Path) -> None:
    (copy / SEARCH_GRAPH).unlink()
    with pytest.raises(BundleError, match=r"lacks search\.onnx: it was copied in part"):
        read_bundle(copy)


def test_says_how_to_get_a_bundle_where_there_is_none(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="run `rqrec train` or `make run` to train one"):
        read_bundle(tmp_path)


def test_holds_no_pickle(bundle: Bundle) -> None:
    assert {path.name for path in bundle.path.iterdir()} == {*FILES, FEATURES, MANIFEST, MAP, MEANINGS, REPORT}
    for path in bundle.path.glob("*.npy"):
        np.load(path, allow_pickle=False)
    suffixes = {".json", ".safetensors", ".onnx", ".npy", ".parquet", ".html"}
    assert {path.suffix for path in bundle.path.iterdir()} == suffixes


def test_semantic_ids_are_unique(bundle: Bundle) -> None:
    assert len(np.unique(bundle.learned.codes_RL, axis=0)) == len(bundle.items)
