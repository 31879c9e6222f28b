"""Manifests whose checksum is right and whose fields are wrong."""

import json
from pathlib import Path

import pytest

from rqrec.models.bundle.bundle import Bundle
from rqrec.models.bundle.error import BundleError
from rqrec.models.bundle.layout import MANIFEST
from rqrec.models.bundle.manifest import read_manifest
from tests.service.serving.wrong.sealing import seal, use
from tests.text_encoders import with_text_encoder


@pytest.fixture
def copy(bundle: Bundle, tmp_path: Path) -> Path:
    return with_text_encoder(bundle, tmp_path / "copy")


@pytest.mark.parametrize(
    "changes",
    [
        {"format": [9]},
        {"format": 9.5},
        {"format": 10**400},
        {"format": True},
        {"version": 1},
        {"version": ""},
        {"version": "a\nb"},
        {"version": "../up"},
        {"num_items": "64"},
        {"num_items": 63},
        {"num_items": -1},
        {"num_items": 64.0},
        {"num_items": 10**30},
        {"retriever": None},
        {"retriever": {}},
        {"retriever": []},
        {"tokenizer": 1},
        {"metrics": {"rqrec": 1}},
        {"metrics": {"rqrec": {"recall": "high"}}},
        {"golden": None},
        {"golden": [1]},
        {"golden": [{}]},
        {"golden": [{"history": [], "rows": [], "scores": []}]},
        {"golden": [{"history": [64], "rows": [1], "scores": [1.0]}]},
        {"golden": [{"history": [-1], "rows": [1], "scores": [1.0]}]},
        {"golden": [{"history": [1.5], "rows": [1], "scores": [1.0]}]},
        {"golden": [{"history": [1], "rows": [1], "scores": []}]},
        {"golden": [{"history": [1], "rows": [1], "scores": [float("nan")]}]},
        {"golden": [{"history": [1], "rows": [1], "scores": [1.0]}]},
        {"golden": []},
        {"golden": [{"history": [1], "rows": [1], "scores": [1.0]}] * 20_000},
        {"golden": [{"history": [1] * 100_000, "rows": [1], "scores": [1.0]}]},
        {"golden": [{"history": [1], "rows": [1] * 100_000, "scores": [1.0] * 100_000}]},
        {"checksums": None},
        {"checksums": []},
        {"config": None},
        {"no_text_encoder": None},
        {"created_at": {}},
    ],
    ids=lambda changes: str(changes)[:80],
)
def test_a_wrong_field_of_the_manifest_is_a_bundle_error(copy: Path, changes: dict[str, object]) -> None:
    seal(copy, **changes)
    with pytest.raises(BundleError) as caught:
        use(copy)
    assert len(str(caught.value)) < 1500


@pytest.mark.parametrize(
    "field", ["num_levels", "codebook_size", "width", "max_history", "feature_dim", "relevance_weight"]
)
@pytest.mark.parametrize("value", ["4", None, -1, 0, 1e308, 10**30, float("nan")])
def test_a_wrong_size_of_the_retriever_is_a_bundle_error(copy: Path, bundle: Bundle, field: str, value: object) -> None:
    if field == "relevance_weight" and value in (-1, 0, 10**30):
        return  # an odd value, but a valid number
    seal(copy, retriever={**bundle.manifest.retriever, field: value})
    with pytest.raises(BundleError):
        use(copy)


@pytest.mark.parametrize("max_history", [9, 16, 17, 10_000, 10**9])
def test_a_history_longer_than_the_graph_reads_is_a_bundle_error(copy: Path, bundle: Bundle, max_history: int) -> None:
    """The graph of the small bundle reads 8 items."""
    seal(copy, retriever={**bundle.manifest.retriever, "max_history": max_history})
    with pytest.raises(BundleError):
        use(copy)


@pytest.mark.parametrize(
    "content", ["[" * 100_000, '{"format":' * 50_000, "9" * 10_000, "null", '"9"', '{"format": 9}']
)
def test_a_manifest_of_another_shape_is_a_bundle_error(copy: Path, content: str) -> None:
    (copy / MANIFEST).write_text(content)
    with pytest.raises(BundleError):
        read_manifest(copy)


def test_a_manifest_too_large_to_parse_quickly_is_a_bundle_error(copy: Path) -> None:
    seal(copy, config="x" * (4 << 20))
    with pytest.raises(BundleError, match="expected at most 4194304 bytes"):
        read_manifest(copy)


def test_the_manifest_is_the_one_that_was_written(bundle: Bundle) -> None:
    written = json.loads((bundle.path / MANIFEST).read_text())
    assert json.loads(json.dumps(bundle.manifest.fields)) == written
    assert isinstance(bundle.manifest.golden[0]["history"][0], int)
