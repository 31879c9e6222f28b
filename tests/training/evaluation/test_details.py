from pathlib import Path

import numpy as np
import pytest

from rqrec.training.data.splits import Holdout, Sequences
from rqrec.training.evaluation.details import EvaluationDetails


def test_details_are_read_as_they_were_written(tmp_path: Path) -> None:
    histories = Sequences.from_arrays(np.array([0, 1, 2], dtype=np.int32), np.array([0, 2, 3]))
    test = Holdout(histories, np.array([3, 4], dtype=np.int32))
    lists = {"rqrec": np.array([[2, 3, -1], [0, 1, 2]]), "popularity": np.array([[3, 0, 1], [4, 0, 1]])}
    made = EvaluationDetails.from_lists(
        lists,
        test,
        np.array([5, 4, 3, 2, 1]),
        shown_k=2,
        model="rqrec",
        log_probs_UK=np.log(np.array([[0.5, 0.25, 1.0], [0.2, 0.1, 0.05]], dtype=np.float32)),
    )
    made.write(tmp_path)
    read = EvaluationDetails.load(tmp_path)
    assert read is not None
    for one in (made, read):
        assert one.history_length_U.tolist() == [2, 1]
        assert one.target_popularity_U.tolist() == [2, 1]
        assert {name: ranks.tolist() for name, ranks in one.ranks.items()} == {
            "rqrec": [2.0, np.inf],
            "popularity": [1.0, 1.0],
        }
        assert one.shown["rqrec"].tolist() == [1, 1, 1, 1, 0]
        assert np.exp(one.log_probs_R) == pytest.approx([0.5, 0.25, 0.2, 0.1, 0.05])  # without the empty entry
        assert one.is_hit_R.tolist() == [False, True, False, False, False]


def test_an_evaluation_of_an_older_release_has_no_details(tmp_path: Path) -> None:
    assert EvaluationDetails.load(tmp_path) is None
