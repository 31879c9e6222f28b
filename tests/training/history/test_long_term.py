"""Long-term vectors are the partial correlations of items, and are recomputed from more interactions."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from rqrec.models.trie.trie import SemanticIdTrie
from rqrec.training.data.splits import Sequences
from rqrec.training.history import long_term
from rqrec.training.history.long_term import LONGEST, fit_long_term, renew_long_term
from rqrec.training.retriever.decoder_settings import DecoderSettings
from tests.models.conftest import random_codes, random_retriever

USERS, ITEMS = 200, 30
SETTINGS = DecoderSettings(long_term_width=ITEMS - 1, long_term_shrinkage=20.0)


def sequences(*, seed: int = 0, items: int = ITEMS, with_dislikes: bool = False) -> Sequences:
    """Users who like items of one of three kinds, some of them several times."""
    rng = np.random.default_rng(seed)
    lengths_U = rng.integers(0, 12, USERS)
    kinds_I = np.repeat(rng.integers(0, 3, USERS), lengths_U)
    items_I = (rng.integers(0, items // 3, len(kinds_I)) * 3 + kinds_I).astype(np.int32)
    weights_I = (rng.random(len(items_I)) > 0.3).astype(np.float32) if with_dislikes else None
    return Sequences.from_arrays(items_I, np.append(0, np.cumsum(lengths_U)), weights_I)


def partial_correlations(train: Sequences, shrinkage: float) -> NDArray[np.float64]:
    choices_UN = np.zeros((USERS, ITEMS))
    choices_UN[train.rows_I[train.is_wanted_I], train.items_I[train.is_wanted_I]] = 1
    inverse_NN = np.linalg.inv(choices_UN.T @ choices_UN + shrinkage * np.eye(ITEMS))
    scales_N = np.sqrt(np.diag(inverse_NN))
    return np.asarray(-inverse_NN / np.outer(scales_N, scales_N))


@pytest.mark.parametrize("with_dislikes", [False, True])
def test_products_are_the_partial_correlations_of_the_items(with_dislikes: bool) -> None:
    train = sequences(with_dislikes=with_dislikes)
    vectors_NG = fit_long_term(train, ITEMS, replace(SETTINGS, long_term_width=ITEMS)).items.weight.numpy()
    products_NN = LONGEST**2 * vectors_NG @ vectors_NG.T
    others = ~np.eye(ITEMS, dtype=bool)
    np.testing.assert_allclose(products_NN[others], partial_correlations(train, 20.0)[others], atol=1e-4)


def test_the_sequences_stay_as_they_were() -> None:
    train = sequences()
    before = train.items_I.copy()
    fit_long_term(train, ITEMS, SETTINGS)
    assert train.items_I.tolist() == before.tolist()


def test_a_low_rank_keeps_what_matters() -> None:
    train, others = sequences(), ~np.eye(ITEMS, dtype=bool)
    vectors_NG = fit_long_term(train, ITEMS, replace(SETTINGS, long_term_width=6)).items.weight.numpy()
    products, exact = (vectors_NG @ vectors_NG.T)[others], partial_correlations(train, 20.0)[others]
    assert np.corrcoef(products, exact)[0, 1] > 0.8


@pytest.mark.parametrize("shrinkage", [1e-3, 1e6])
def test_no_vector_is_longer_than_one(shrinkage: float) -> None:
    vectors = fit_long_term(sequences(), ITEMS, replace(SETTINGS, long_term_shrinkage=shrinkage))
    assert vectors.items.weight.norm(dim=1).max() <= 1 + 1e-6


@pytest.mark.parametrize("items", [[], [4], [4, 4, 4]])
def test_few_interactions_are_enough(items: list[int]) -> None:
    train = Sequences.from_arrays(np.array(items, dtype=np.int32), np.array([0, len(items)]))
    vectors_NG = fit_long_term(train, ITEMS, SETTINGS).items.weight.numpy()
    assert vectors_NG.shape == (ITEMS, ITEMS - 1)
    assert np.isfinite(vectors_NG).all()
    assert np.flatnonzero(vectors_NG.any(axis=1)).tolist() == sorted(set(items))


def test_of_very_many_users_some_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    everyone = fit_long_term(sequences(), ITEMS, SETTINGS).items.weight.numpy()
    monkeypatch.setattr(long_term, "MOST_USERS", USERS // 2)
    some = fit_long_term(sequences(), ITEMS, SETTINGS).items.weight.numpy()
    likeness = np.corrcoef((everyone @ everyone.T).ravel(), (some @ some.T).ravel())[0, 1]
    assert 0.8 < likeness < 0.9999


@pytest.fixture
def trie() -> SemanticIdTrie:
    return SemanticIdTrie.build(
        random_codes(np.random.default_rng(0), items=40, levels=3, codebook_size=5), codebook_size=5
    )


def test_new_vectors_keep_the_width_and_the_weight(trie: SemanticIdTrie) -> None:
    model, train = random_retriever(trie), sequences(items=trie.num_leaves // 3 * 3)
    assert model.long_term is not None
    before = model.long_term.items.weight.clone()
    weight = float(model.long_term.weight)
    renew_long_term(model, train, SETTINGS)
    assert model.long_term.items.weight.shape == before.shape
    assert not model.long_term.items.weight.equal(before)
    assert float(model.long_term.weight) == weight


def test_a_retriever_without_them_stays_without(trie: SemanticIdTrie) -> None:
    model = random_retriever(trie, long_term_width=0)
    renew_long_term(model, sequences(), SETTINGS)
    assert model.long_term is None
    assert model.config.long_term is None
