"""A service that cannot start says why in one line."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from rqrec.models.bundle.bundle import Bundle
from rqrec.models.bundle.error import BundleError
from rqrec.models.bundle.layout import ITEMS, SEARCH_GRAPH, TOKENIZER_GRAPH
from rqrec.models.trie.trie import SemanticIdTrie
from rqrec.service.serving import loading
from rqrec.service.settings import Backend, Device, Precision
from tests.service.serving.wrong.sealing import seal
from tests.text_encoders import with_text_encoder


@pytest.fixture
def copy(bundle: Bundle, tmp_path: Path) -> Path:
    return with_text_encoder(bundle, tmp_path / "copy")


def start(bundle: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    settings = {"RQREC_BUNDLE": str(bundle), "RQREC_PORT": "0", **environment}
    return subprocess.run(
        [sys.executable, "-m", "service"],
        check=False,
        capture_output=True,
        text=True,
        env=os.environ | settings,
        cwd=Path(__file__).parents[3],
        timeout=120,
    )


@pytest.mark.parametrize("backend", ["onnx", "torch"])
def test_a_device_that_is_not_there_is_one_line_at_the_start(bundles: Path, backend: str) -> None:
    done = start(bundles, RQREC_DEVICE="cuda", RQREC_BACKEND=backend)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "RQREC_DEVICE=cuda needs a GPU" in line


def test_half_precision_without_its_graph_says_how_to_get_it(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "cuda_is_available", lambda: True)
    options = loading.LoadOptions(
        Backend.ONNX, Device.AUTO, Precision.HALF, beam_width=10, read_items=50, filter_cache_bytes=1 << 20
    )
    trie = SemanticIdTrie.build(bundle.learned.codes_RL, codebook_size=bundle.manifest.codebook_size)
    with pytest.raises(BundleError, match=r"--set PublishSettings.half_precision=True`, or set RQREC_PRECISION=fp32"):
        loading.load_search_engine(bundle, trie, bundle.learned.vectors_RD, options)


@pytest.mark.parametrize("name", [SEARCH_GRAPH, TOKENIZER_GRAPH, ITEMS])
def test_an_unusable_bundle_is_one_line_at_the_start(copy: Path, name: str) -> None:
    (copy / name).write_bytes(b"")
    seal(copy)
    done = start(copy)
    assert done.returncode in (2, 3)
    assert "Traceback" not in done.stderr
    assert sum(name in line for line in done.stderr.splitlines()) == 1
    assert "cannot listen" not in done.stderr
