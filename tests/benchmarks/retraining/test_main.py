"""The ratio of two models' figures, on the same test cases."""

import numpy as np
import pytest

from benchmarks.retraining.__main__ import ratio
from benchmarks.retraining.asking import Answers


def answers(values: list[float], users: list[str]) -> Answers:
    return Answers(np.array(values), np.array(values), np.array(users))


def test_the_ratio_is_that_of_the_sums_and_its_interval_is_over_users() -> None:
    above = [answers([0.2, 0.4], ["a", "b"]), answers([0.6], ["a"])]
    below = [answers([0.1, 0.4], ["a", "b"]), answers([0.3], ["a"])]
    assert ratio(above, below) == {"ratio": 1.5, "low": 1.0, "high": 2.0}
    assert ratio([], []) is None


def test_other_test_cases_are_refused() -> None:
    with pytest.raises(ValueError, match="the same test cases"):
        ratio([answers([0.2], ["a"])], [answers([0.2], ["b"])])
