"""Means over users with 95 % intervals, for the figures of the evaluation.

Shapes: U users.
"""

from typing import NamedTuple

from rqrec.training.evaluation.metrics import PerUser, bootstrap_interval

MOST_RESAMPLES, FEWEST_RESAMPLES, DRAWS = 1000, 100, 20_000_000


class Mean(NamedTuple):
    """A mean over users, and its 95 % interval.

    Attributes:
        value: The mean.
        low: The lower bound.
        high: The upper bound.
    """

    value: float
    low: float
    high: float


def mean_of(values_U: PerUser) -> Mean:
    """Returns the mean of one value per user, with its bootstrap interval. Many users are drawn less often.

    >>> import numpy as np
    >>> mean_of(np.ones(3))
    Mean(value=1.0, low=1.0, high=1.0)

    Args:
        values_U: At least one value.
    """
    resamples = max(min(DRAWS // len(values_U), MOST_RESAMPLES), FEWEST_RESAMPLES)
    return Mean(float(values_U.mean()), *bootstrap_interval(values_U, resamples=resamples))
