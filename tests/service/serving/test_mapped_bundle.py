import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient

from rqrec.models.bundle.bundle import Bundle, read_bundle
from rqrec.models.bundle.error import BundleError
from rqrec.models.bundle.golden import Golden, golden_faults
from rqrec.models.bundle.layout import CONTENT_CLUSTERS, ITEM_VECTORS, TRANSITIONS
from rqrec.models.bundle.learned_items import write_learned_items
from rqrec.models.bundle.manifest import seal_bundle
from rqrec.models.items import content_neighbours
from rqrec.models.items.item_tokenizer import ItemTokenizer
from rqrec.models.items.mapped_files import write_mapped_files
from rqrec.service.app import create_app
from rqrec.service.catalogue.published import bundle_items, leaf_index
from rqrec.service.composition import load_options
from rqrec.service.serving.loading import load_snapshot
from rqrec.service.settings import Settings
from rqrec.service.telemetry import Metrics
from tests.service.conftest import settings_for, until


@pytest.fixture(autouse=True)
def _every_catalogue_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(content_neighbours, "COMPARED_ALL", 8)
    monkeypatch.setattr(bundle_items, "MADE_WHEN_NEEDED_FROM", 0)
    monkeypatch.setattr(leaf_index, "HASHED_FROM", 0)


@pytest.fixture
def mapped(bundle: Bundle, tmp_path: Path) -> Path:
    """The same bundle as it is published for a large catalogue."""
    shutil.copytree(bundle.path, folder := tmp_path / "mapped")
    learned, by_row = bundle.learned, None
    if bundle.transitions is not None:
        by_row = bundle.transitions.reordered(learned.leaf_of_row_R)
        (folder / TRANSITIONS).unlink()
    write_learned_items(folder, learned.trie, learned.popularity_R, None)
    write_mapped_files(folder, learned.trie, learned.popularity_R, learned.vectors_RD, bundle.contents_RP, by_row)
    seal_bundle(folder, replace(bundle.manifest, is_mapped=True))
    return folder


def test_a_mapped_bundle_serves_the_same(bundle: Bundle, mapped: Path) -> None:
    found = read_bundle(mapped)
    assert found.learned.vectors_RD.tolist() == bundle.learned.vectors_RD.tolist()
    assert found.learned.codes_RL.tolist() == bundle.learned.codes_RL.tolist()
    options = load_options(Settings(bundle=mapped))
    snapshot, expected = (load_snapshot(one, options, Metrics()) for one in (found, bundle))
    golden = [Golden.from_json(fields) for fields in bundle.manifest.golden]
    assert not golden_faults(snapshot.recommender, golden)
    histories = [np.arange(number, number + 5) for number in range(20)]
    for one, other in zip(
        *(each.recommender.recommend(histories, k=10, beam_width=20) for each in (snapshot, expected)), strict=True
    ):
        assert one.leaves_K.tolist() == other.leaves_K.tolist()
        assert one.scores_K.tolist() == other.scores_K.tolist()
    assert snapshot.table.items(snapshot.table.places) == expected.table.items(expected.table.places)


def test_clusters_from_the_bundle_give_new_items_the_same_vectors(bundle: Bundle, mapped: Path) -> None:
    features = np.random.default_rng(0).normal(size=(5, bundle.featurizer.width)).astype(np.float32)
    clustered, expected = (ItemTokenizer(one).vectors(features) for one in (read_bundle(mapped), bundle))
    assert clustered.tolist() == expected.tolist()


def test_a_replica_that_serves_a_damaged_mapped_file_becomes_not_ready(mapped: Path) -> None:
    with (mapped / ITEM_VECTORS).open("r+b") as file:
        file.seek(-4, 2)
        file.write(b"\0\0\0\1")
    with pytest.raises(BundleError, match="does not match the checksum"):
        read_bundle(mapped)
    with TestClient(create_app(settings_for(mapped))) as client:
        until(lambda: client.get("/readyz").status_code == 503)
        assert f"{ITEM_VECTORS} of bundle" in client.get("/readyz").json()["detail"]


def _shorter(array: np.ndarray) -> np.ndarray:
    return array[:-1]


def _not_finite(array: np.ndarray) -> np.ndarray:
    array[1] = np.nan
    return array


def _too_large(array: np.ndarray) -> np.ndarray:
    array[1] = 60_000
    return array


@pytest.mark.parametrize(
    ("name", "change"),
    [
        (ITEM_VECTORS, _shorter),
        (ITEM_VECTORS, _not_finite),
        (CONTENT_CLUSTERS[0], _not_finite),
        (CONTENT_CLUSTERS[1], _shorter),
        (CONTENT_CLUSTERS[1], _too_large),
    ],
)
def test_a_mapped_file_with_other_content_is_refused(
    name: str, change: Callable[[np.ndarray], np.ndarray], bundle: Bundle, mapped: Path
) -> None:
    np.save(mapped / name, change(np.load(mapped / name)))
    seal_bundle(mapped, replace(bundle.manifest, is_mapped=True))
    with pytest.raises(BundleError, match="cannot be used"):
        read_bundle(mapped)
