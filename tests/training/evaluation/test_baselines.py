import tracemalloc

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import sparse

from rqrec.training.data.splits import Holdout, Sequences
from rqrec.training.evaluation import baselines
from rqrec.training.evaluation.baselines import (
    ITEM_KNN_NEIGHBOURS,
    item_popularity,
    rank_by_content_knn,
    rank_by_item_knn,
    rank_by_popularity,
)


def ragged(rows: list[list[int]]) -> Sequences:
    return Sequences.from_arrays(
        np.array([i for row in rows for i in row], dtype=np.int32), np.cumsum([0, *map(len, rows)])
    )


TRAIN = ragged([[0, 1], [0, 1, 2], [3, 4], [3, 4], [3, 4, 0]])
HOLDOUT = Holdout(ragged([[1], [3]]), np.array([0, 4], dtype=np.int32))


def test_popularity_counts_training_interactions() -> None:
    assert item_popularity(TRAIN, 6).tolist() == [3, 2, 1, 3, 3, 0]


def test_popularity_leaves_out_the_history() -> None:
    assert rank_by_popularity(item_popularity(TRAIN, 6), HOLDOUT, k=3).tolist() == [[0, 3, 4], [0, 4, 1]]


def test_item_knn_recommends_what_the_same_users_chose() -> None:
    lists = rank_by_item_knn(TRAIN, 6, HOLDOUT, k=1)
    assert lists.tolist() == [[0], [4]]


def test_content_knn_recommends_what_is_alike() -> None:
    features_NE = np.array([[1, 0], [1, 0.1], [0, 1], [0.2, 1], [0, 0], [1, 1]], dtype=np.float32)
    assert rank_by_content_knn(features_NE, HOLDOUT, k=2).tolist() == [[0, 5], [2, 5]]


def test_ranking_leaves_the_order_of_histories_alone() -> None:
    train, holdout = ragged([[4, 0], [3, 1, 2]]), Holdout(ragged([[5, 1, 3]]), np.array([0], dtype=np.int32))
    rank_by_popularity(item_popularity(train, 6), holdout, k=1)
    rank_by_item_knn(train, 6, holdout, k=1)
    rank_by_content_knn(np.eye(6, dtype=np.float32), holdout, k=1)
    assert holdout.histories[0].tolist() == [5, 1, 3]
    assert train.items_I.tolist() == [4, 0, 3, 1, 2]


def random_sequences(rng: np.random.Generator, users: int, num_items: int, longest: int) -> Sequences:
    lengths_U = rng.integers(1, longest, users)
    shares_N = (np.arange(num_items) + 3.0) ** -0.7
    items_I = rng.choice(num_items, lengths_U.sum(), p=shares_N / shares_N.sum())
    return Sequences.from_arrays(items_I.astype(np.int32), np.concatenate([[0], np.cumsum(lengths_U)]))


def random_holdout(rng: np.random.Generator, users: int, num_items: int) -> Holdout:
    histories = random_sequences(rng, users, num_items, 8)
    return Holdout(histories, rng.integers(0, num_items, users).astype(np.int32))


def best_by_full_sort(scores_UN: NDArray[np.float32], holdout: Holdout, k: int) -> NDArray[np.int64]:
    for user in range(len(holdout)):
        scores_UN[user, holdout.histories[user]] = -np.inf
    best_UK = np.argsort(-scores_UN, axis=1, kind="stable")[:, :k]
    return np.where(np.take_along_axis(scores_UN, best_UK, axis=1) > -np.inf, best_UK, -1)


def rank_by_the_whole_product(train: Sequences, num_items: int, holdout: Holdout, k: int) -> NDArray[np.int64]:
    """Item-kNN with every similarity in memory at once."""
    has_UN = np.zeros((len(train), num_items), dtype=np.float32)
    for user in range(len(train)):
        has_UN[user, train[user]] = 1
    unit = sparse.csr_matrix(sparse.csr_matrix(has_UN) @ sparse.diags(1 / np.maximum(np.sqrt(has_UN.sum(axis=0)), 1)))
    similarity_NN = (unit.T @ unit).toarray()  # sums in the order of the users, so that equal cosines are equal
    np.fill_diagonal(similarity_NN, 0)
    if num_items > ITEM_KNN_NEIGHBOURS:
        least_N1 = np.partition(similarity_NN, -ITEM_KNN_NEIGHBOURS, axis=1)[:, [-ITEM_KNN_NEIGHBOURS]]
        similarity_NN[similarity_NN < least_N1] = 0
    scores_UN = np.stack(
        [similarity_NN[np.unique(holdout.histories[user])].sum(axis=0) for user in range(len(holdout))]
    )
    return best_by_full_sort(scores_UN, holdout, k)


@pytest.mark.parametrize("seed", range(6))
def test_item_knn_in_blocks_ranks_as_the_whole_product_does(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(seed)
    num_items = int(rng.integers(150, 500))
    # Few users: many items have the same users, so many neighbours tie at the 100th.
    train = random_sequences(rng, int(rng.integers(20, 200)), num_items, 60)
    holdout = random_holdout(rng, 40, num_items)
    monkeypatch.setattr(baselines, "SIMILARITIES_PER_BLOCK", int(rng.integers(1, 5000)))
    monkeypatch.setattr(baselines, "SCORES_PER_BLOCK", int(rng.integers(1, 5000)))
    expected_UK = rank_by_the_whole_product(train, num_items, holdout, k=20)
    assert np.array_equal(rank_by_item_knn(train, num_items, holdout, k=20), expected_UK)


def test_popularity_in_blocks_ranks_as_a_full_sort_does(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    train, holdout = random_sequences(rng, 30, 200, 10), random_holdout(rng, 40, 200)
    monkeypatch.setattr(baselines, "SCORES_PER_BLOCK", 700)
    scores_UN = np.tile(item_popularity(train, 200).astype(np.float32), (40, 1))
    lists_UK = rank_by_popularity(item_popularity(train, 200), holdout, k=250)
    assert np.array_equal(lists_UK, best_by_full_sort(scores_UN, holdout, 250))


def test_neighbours_that_tie_beyond_the_limit_are_the_lower_items(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(baselines, "ITEM_KNN_NEIGHBOURS", 2)
    monkeypatch.setattr(baselines, "ITEM_KNN_WITH_TIES", 3)
    everything = ragged([list(range(8))])
    similarity_NN = baselines._nearest(baselines._user_item(everything, 8))
    assert [row.indices.tolist() for row in similarity_NN[[0, 2, 7]]] == [[1, 2, 3], [0, 1, 3], [0, 1, 2]]


def test_memory_does_not_grow_with_the_product_of_items_or_users(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    num_items = 2000
    rows = [rng.permutation(num_items)[:400].tolist() for _ in range(60)]
    train, holdout = ragged(rows), Holdout(ragged([row[:3] for row in rows] * 50), np.zeros(3000, dtype=np.int32))
    monkeypatch.setattr(baselines, "SIMILARITIES_PER_BLOCK", 20_000)
    monkeypatch.setattr(baselines, "SCORES_PER_BLOCK", 20_000)
    monkeypatch.setattr(baselines, "ITEM_KNN_WITH_TIES", ITEM_KNN_NEIGHBOURS)
    tracemalloc.start()
    try:
        rank_by_item_knn(train, num_items, holdout, k=10)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    neighbours_bytes = 8 * num_items * ITEM_KNN_NEIGHBOURS
    whole_bytes = 4 * num_items**2  # the similarities of all pairs; the scores of all users are half as much again
    assert peak_bytes < 4 * neighbours_bytes < whole_bytes / 2
