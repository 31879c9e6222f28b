"""Where users choose within clubs of items, a model gets long-term vectors, and all that reads a model knows them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from rqrec.models.bundle.bundle import Bundle, read_bundle
from rqrec.models.trie.trie import SemanticIdTrie
from rqrec.service.browse.spaces import LearnedVectors
from rqrec.service.serving.loading import LoadOptions, load_snapshot
from rqrec.service.settings import Backend, Device, Precision
from rqrec.service.telemetry import Metrics
from rqrec.training.retrain.grown_model import bundle_retriever, grown_retriever
from rqrec.training.run import Run
from rqrec.training.runtime.workspace import Workspace
from rqrec.training.train_decoder import load_retriever
from tests.conftest import made_once, small_settings, write_shop

CLUB, CLUBS, USERS = 8, 8, 400
OPTIONS = LoadOptions(
    Backend.ONNX, Device.CPU, Precision.FP32, beam_width=20, read_items=50, filter_cache_bytes=1 << 20
)


def write_clubs(folder: Path) -> Path:
    """The films of the shop; a user rates most films of one club and some others, in any order."""
    write_shop(folder)
    films = pl.read_csv(folder / "movies.csv")["movieId"].to_numpy()
    rng, rows = np.random.default_rng(0), []
    clubs = rng.permutation(films).reshape(CLUBS, CLUB)
    for user in range(USERS):
        own = rng.permutation(clubs[user % CLUBS])[:6]
        liked = rng.permutation(np.unique([*own, *rng.choice(films, 3, replace=False)]))
        rows += [(user + 1, int(film), 4.0, 1000 * user + 10 * place) for place, film in enumerate(liked)]
    ratings = pl.DataFrame(rows, schema=["userId", "movieId", "rating", "timestamp"], orient="row")
    ratings.write_csv(folder / "ratings.csv")
    return folder


@pytest.fixture(scope="module")
def run(run_folder: Path) -> Run:
    root = run_folder / "clubs"
    with made_once(root):
        source = root / "data" / "clubs"
        settings = small_settings(source if source.exists() else write_clubs(source), "DecoderSettings.epochs = 2")
        made = Run(Workspace(root / "work", root / "data"), settings)
        assert made.bundle.is_dir()
    return made


@pytest.fixture(scope="module")
def bundle(run: Run) -> Bundle:
    return read_bundle(run.bundle)


def test_the_model_has_long_term_vectors_and_the_published_one_newer_ones(run: Run, bundle: Bundle) -> None:
    evaluated, published = load_retriever(run.decoder).long_term, bundle_retriever(bundle).long_term
    assert evaluated is not None
    assert published is not None
    assert evaluated.weight == published.weight
    assert evaluated.weight > 0
    assert not evaluated.items.weight.equal(published.items.weight)  # the refit has seen the held-out interactions


def test_a_width_of_0_leaves_them_out(run: Run, tmp_path: Path) -> None:
    settings = replace(run.settings, decoder=replace(run.settings.decoder, long_term_width=0, epochs=1))
    assert load_retriever(Run(Workspace(tmp_path, run.workspace.data_dir), settings).decoder).long_term is None


def test_both_engines_find_the_same(bundle: Bundle) -> None:
    histories = [np.array([3]), np.array([1, 2, 3, 4, 5, 6]), np.arange(12)]
    lists = []
    for backend in Backend:
        recommender = load_snapshot(bundle, replace(OPTIONS, backend=backend), Metrics()).recommender
        lists.append(recommender.recommend(histories, k=10, beam_width=20))
    for one, other in zip(*lists, strict=True):
        assert one.leaves_K.tolist() == other.leaves_K.tolist()
        np.testing.assert_allclose(one.scores_K, other.scores_K, atol=1e-3)


def test_items_are_compared_without_their_long_term_part(bundle: Bundle) -> None:
    snapshot = load_snapshot(bundle, OPTIONS, Metrics())
    vectors_NW, width = snapshot.item_vectors.rows, bundle.manifest.retriever_config.compared_width
    assert width < vectors_NW.shape[1]
    units_ND = vectors_NW[:, :width] / np.linalg.norm(vectors_NW[:, :width], axis=1, keepdims=True)
    vectors = LearnedVectors(snapshot)
    nothing_added = np.zeros(0, dtype=np.bool_)
    found = vectors.nearest(snapshot, vectors.vector(snapshot, 3), 5, allowed_N=None, allowed_S=nothing_added)
    assert found.places_K.tolist() == np.argsort(-(units_ND @ units_ND[3]), kind="stable")[:5].tolist()
    np.testing.assert_allclose(found.scores_K, np.sort(units_ND @ units_ND[3])[::-1][:5], atol=1e-5)


def test_a_larger_catalogue_keeps_them(bundle: Bundle) -> None:
    codes_NL = np.concatenate([bundle.learned.codes_RL, [[15] * bundle.learned.codes_RL.shape[1]]])
    trie = SemanticIdTrie.build(codes_NL, codebook_size=bundle.manifest.codebook_size)
    features_NE = np.zeros((len(codes_NL), bundle.manifest.retriever_config.feature_dim), dtype=np.float32)
    before, after = bundle_retriever(bundle).long_term, grown_retriever(bundle, trie, features_NE).long_term
    assert before is not None
    assert after is not None
    assert after.weight == before.weight
    torch.testing.assert_close(after.items.weight[:-1], before.items.weight)
    assert after.items.weight[-1].norm() <= 1
