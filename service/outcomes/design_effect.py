"""The design effect: how much less many impressions of one user say than impressions of as many users."""

import numpy as np
from numpy.typing import NDArray

from rqrec.models.array_types import IntArray


def design_effect(impressions_U: IntArray, successes_U: IntArray) -> float:
    """Estimates how much the variance of a rate exceeds that of independent impressions.

    A user who clicks much does so again. The canary is chosen by user, so whole users are drawn at random, not
    impressions. The variance of a rate over U users is sum((s_u - r n_u)²) / n² (Kish 1965, the ratio estimator);
    that of n independent impressions is r (1 - r) / n. The design effect is the first divided by the second.

    It grows with the impressions per user, so estimate it from as many days as a trial lasts.

    Args:
        impressions_U: How many recommendations each user was shown, 1 or more. Shape (U,), U at least 2.
        successes_U: How many of them had the outcome. Shape (U,).

    Returns:
        The design effect; 1.0 if the estimate is less.

    Raises:
        ValueError: If there are fewer than two users, or all impressions had the outcome, or none.
    """
    num_users, impressions, successes = len(impressions_U), impressions_U.sum(), successes_U.sum()
    if num_users < 2 or not 0 < successes < impressions:
        raise ValueError(
            f"expected two or more users, and impressions both with and without the outcome, got {num_users} users and "
            f"{successes} of {impressions} impressions: use more days"
        )
    return float(design_effects(impressions_U, successes_U))


def design_effects(impressions_TU: IntArray, successes_TU: IntArray) -> NDArray[np.float64]:
    """Estimates the design effect at many times, as `design_effect` does at one.

    Args:
        impressions_TU: How many recommendations each user was shown until each time, 0 or more. Shape (..., U).
        successes_TU: How many of them had the outcome. Shape (..., U).

    Returns:
        The design effects, shape (...); 1.0 where the estimate is less, or where the counts tell nothing.
    """
    num_users, impressions = (impressions_TU > 0).sum(axis=-1), impressions_TU.sum(axis=-1)
    successes = successes_TU.sum(axis=-1)
    known = (num_users >= 2) & (successes > 0) & (successes < impressions)
    rate = successes / np.where(known, impressions, np.nan)
    residuals_TU = successes_TU - rate[..., None] * impressions_TU
    variance_of_sum = np.sum(residuals_TU**2, axis=-1) * num_users / np.maximum(num_users - 1, 1)
    effects: NDArray[np.float64] = np.fmax(variance_of_sum / (impressions * rate * (1 - rate)), 1.0)  # 1 where NaN
    return effects
