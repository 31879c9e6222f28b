"""The ratio of two models' figures about the same slices."""

import numpy as np

from benchmarks.retraining.__main__ import ratio
from benchmarks.retraining.asking import Answers


def answers(values: list[float], users: list[str]) -> Answers:
    return Answers(np.array(values), np.array(values), np.array(users))


def test_the_ratio_is_that_of_the_means_and_its_interval_is_over_users() -> None:
    above = [answers([0.2, 0.4], ["a", "b"]), answers([0.6], ["a"])]
    below = [answers([0.1, 0.4], ["a", "b"]), answers([0.3], ["a"])]
    assert ratio(above, below) == {"ratio": 1.5, "low": 1.0, "high": 2.0}
    assert ratio([], []) is None


def test_a_case_more_of_one_model_counts_in_its_mean_alone() -> None:
    found = ratio([answers([0.4, 0.4, 0.1], ["a", "a", "b"])], [answers([0.2, 0.1], ["a", "b"])])
    assert found is not None
    assert found["ratio"] == 2.0
