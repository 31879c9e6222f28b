import numpy as np

from rqrec.training.data.splits import Sequences
from rqrec.training.evaluation.recent_popularity import recent_popularity

TRAIN = Sequences.from_arrays(np.array([0, 1, 2, 2, 1], dtype=np.int32), np.array([0, 3, 5]))
TIMES = 1_700_000_000 + 86_400 * np.array([0, 20, 40, 11, 9])


def test_only_the_last_days_before_the_end_of_the_data_count() -> None:
    counts = recent_popularity(TRAIN, TIMES, 4, days=30)
    assert counts is not None
    assert counts.tolist() == [0, 1, 2, 0]


def test_positions_are_no_times() -> None:
    assert recent_popularity(TRAIN, np.arange(5), 4, days=30) is None
