import numpy as np

from rqrec.training.data.splits import Holdout, Sequences
from rqrec.training.evaluation.baselines import (
    item_popularity,
    rank_by_content_knn,
    rank_by_item_knn,
    rank_by_popularity,
)


def ragged(rows: list[list[int]]) -> Sequences:
    return Sequences(np.array([i for row in rows for i in row], dtype=np.int32), np.cumsum([0, *map(len, rows)]))


TRAIN = ragged([[0, 1], [0, 1, 2], [3, 4], [3, 4], [3, 4, 0]])
HOLDOUT = Holdout(ragged([[1], [3]]), np.array([0, 4], dtype=np.int32))


def test_popularity_counts_training_interactions() -> None:
    assert item_popularity(TRAIN, 6).tolist() == [3, 2, 1, 3, 3, 0]


def test_popularity_leaves_out_the_history() -> None:
    assert rank_by_popularity(TRAIN, 6, HOLDOUT, k=3).tolist() == [[0, 3, 4], [0, 4, 1]]


def test_item_knn_recommends_what_the_same_users_chose() -> None:
    lists = rank_by_item_knn(TRAIN, 6, HOLDOUT, k=1)
    assert lists.tolist() == [[0], [4]]


def test_content_knn_recommends_what_is_alike() -> None:
    features_NE = np.array([[1, 0], [1, 0.1], [0, 1], [0.2, 1], [0, 0], [1, 1]], dtype=np.float32)
    assert rank_by_content_knn(features_NE, HOLDOUT, k=2).tolist() == [[0, 5], [2, 5]]


def test_ranking_leaves_the_order_of_histories_alone() -> None:
    train, holdout = ragged([[4, 0], [3, 1, 2]]), Holdout(ragged([[5, 1, 3]]), np.array([0], dtype=np.int32))
    rank_by_popularity(train, 6, holdout, k=1)
    rank_by_item_knn(train, 6, holdout, k=1)
    rank_by_content_knn(np.eye(6, dtype=np.float32), holdout, k=1)
    assert holdout.histories[0].tolist() == [5, 1, 3]
    assert train.items_I.tolist() == [4, 0, 3, 1, 2]
