"""More new items than are all compared: the bound of the work, and the items that are found."""

from dataclasses import replace

import numpy as np
import pytest

from rqrec.models.array_types import IntArray
from rqrec.models.search.eligibility import Eligibility
from rqrec.models.search.new.new_item_index import COMPARED, COMPARED_ALL, UNINDEXED
from rqrec.models.search.new.new_items import NewItems
from rqrec.models.search.ranking import SearchOutput
from rqrec.models.trie.trie import SemanticIdTrie
from rqrec.models.vector_index import unit_rows
from tests.models.conftest import grouped_vectors

WIDTH, WEIGHT = 16, 8.0
NONE: IntArray = np.empty(0, dtype=np.int64)


def nothing_found(queries: np.ndarray) -> SearchOutput:
    users = len(queries)
    nowhere = np.full((users, 10), -1, dtype=np.int32)
    none = np.full((users, 10), -np.inf, dtype=np.float32)
    return SearchOutput(nowhere, none, none, (WEIGHT * queries).astype(np.float32))


def new_items(trie: SemanticIdTrie, vectors: np.ndarray, at_once: int) -> tuple[NewItems, Eligibility]:
    new = NewItems.from_mask(
        np.zeros(trie.num_leaves, dtype=np.bool_), np.zeros((0, WIDTH), np.float32), relevance_weight=8.0
    )
    for begin in range(0, len(vectors), at_once):
        part = vectors[begin : begin + at_once]
        new = new.with_added(trie.num_leaves + np.arange(begin, begin + len(part)), part)
    everything = Eligibility.everything(trie).with_added(np.ones(len(vectors), dtype=np.bool_), len(vectors))
    return new, everything


@pytest.mark.parametrize("at_once", [500, 20_000])
def test_of_many_a_bounded_number_is_compared_and_most_of_the_best_are_found(
    trie: SemanticIdTrie, at_once: int
) -> None:
    vectors, queries = grouped_vectors(20_000), unit_rows(grouped_vectors(50, seed=1))
    new, everything = new_items(trie, vectors, at_once)
    lists = new.merged(nothing_found(queries), [NONE] * 50, everything, k=10, reserved=[0] * 50)
    best = np.argsort(-(queries @ unit_rows(vectors).T), axis=1)[:, :10] + trie.num_leaves
    shared = [len(set(ranking.leaves_K.tolist()) & set(row.tolist())) for ranking, row in zip(lists, best, strict=True)]
    assert np.mean(shared) >= 8
    for query in queries:
        rows, _ = new._index.compare(new._index.possible(everything), query[None]).of_user(0)
        assert len(rows) <= COMPARED + UNINDEXED
        assert len(set(rows.tolist())) == len(rows)


def test_few_are_all_compared(trie: SemanticIdTrie) -> None:
    vectors, queries = grouped_vectors(COMPARED_ALL), unit_rows(grouped_vectors(20, seed=1))
    new, everything = new_items(trie, vectors, 700)
    lists = new.merged(nothing_found(queries), [NONE] * 20, everything, k=10, reserved=[0] * 20)
    best = np.argsort(-(queries @ unit_rows(vectors).T), axis=1)[:, :10] + trie.num_leaves
    assert [ranking.leaves_K.tolist() for ranking in lists] == best.tolist()


@pytest.mark.parametrize("is_prepared", [True, False])
@pytest.mark.parametrize("left", [1, 7, 3000, 9000])
def test_k_come_back_whatever_a_filter_leaves_and_however_many_are_gone(
    trie: SemanticIdTrie, left: int, is_prepared: bool
) -> None:
    vectors, queries = grouped_vectors(10_000), unit_rows(grouped_vectors(5, seed=1))
    new, everything = new_items(trie, vectors, 10_000)
    # The remaining items are the farthest from the first user.
    mask = np.zeros(len(vectors), dtype=np.bool_)
    mask[np.argsort(unit_rows(vectors) @ queries[0])[:left]] = True
    eligibility = everything.with_added(mask, left)
    if is_prepared:
        eligibility = replace(eligibility, candidates=new.candidates(eligibility))
    excluded = trie.num_leaves + np.flatnonzero(mask)[: left // 2]
    for ranking in new.merged(nothing_found(queries), [excluded] * 5, eligibility, k=10, reserved=[3] * 5):
        places = ranking.leaves_K - trie.num_leaves
        assert len(set(places.tolist())) == len(places) == min(10, left - left // 2)
        assert mask[places].all()
        assert not np.isin(ranking.leaves_K, excluded).any()
        assert (np.diff(ranking.scores_K) <= 0).all()


def test_equal_vectors_are_no_trouble(trie: SemanticIdTrie) -> None:
    vectors = np.repeat(grouped_vectors(1), 10_000, axis=0)
    new, everything = new_items(trie, vectors, 3000)
    (ranking,) = new.merged(nothing_found(unit_rows(grouped_vectors(1))), [NONE], everything, k=10, reserved=[0])
    assert len(set(ranking.leaves_K.tolist())) == 10


def test_without_a_relevance_weight_new_items_come_last(trie: SemanticIdTrie) -> None:
    new = NewItems.none(trie, WIDTH).with_added(trie.num_leaves + np.arange(2), grouped_vectors(2))
    everything = Eligibility.everything(trie).with_added(np.ones(2, dtype=np.bool_), 2)
    log_probs = np.array([[-1.0, -4.0]], dtype=np.float32)
    found = SearchOutput(np.array([[3, 5]], dtype=np.int32), log_probs, log_probs, np.zeros((1, WIDTH), np.float32))
    (ranking,) = new.merged(found, [NONE], everything, k=4, reserved=[0])
    assert ranking.leaves_K[:2].tolist() == [3, 5]
    assert set(ranking.leaves_K[2:].tolist()) == {trie.num_leaves, trie.num_leaves + 1}
    assert np.isfinite(ranking.scores_K).all()
