import numpy as np

from benchmarks.support.accuracy.transitions import rank_by_transitions
from rqrec.training.data.splits import Holdout, Sequences


def ragged(rows: list[list[int]]) -> Sequences:
    return Sequences.from_arrays(
        np.array([i for row in rows for i in row], dtype=np.int32), np.cumsum([0, *map(len, rows)])
    )


def test_what_followed_comes_first_then_what_is_alike() -> None:
    features_NE = np.array([[1, 0], [1, 0.1], [0, 1], [0.1, 1], [0.9, 0.2]], dtype=np.float32)
    train = ragged([[0, 2], [0, 2], [0, 3]])
    histories = ragged([[0], [1, 0]])
    lists_UK = rank_by_transitions(train, features_NE, Holdout(histories, np.array([2, 2], dtype=np.int32)), k=4)
    assert lists_UK[0].tolist() == [2, 3, 1, 4]  # 1 and 4 never followed, and are alike
    assert 1 not in lists_UK[1][:3]  # the history is left out
    assert lists_UK[1][:2].tolist() == [2, 3]


def test_content_decides_between_equal_transitions() -> None:
    features_NE = np.array([[1, 0], [0, 1], [1, 0.1]], dtype=np.float32)
    holdout = Holdout(ragged([[0]]), np.array([1], dtype=np.int32))
    assert rank_by_transitions(ragged([[0, 1], [0, 2]]), features_NE, holdout, k=2).tolist() == [[2, 1]]
