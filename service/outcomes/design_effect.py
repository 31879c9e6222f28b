"""The design effect: how much less many impressions of one user say than impressions of as many users."""

import numpy as np

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
    rate = successes / impressions
    residuals_U = successes_U - rate * impressions_U
    variance_of_sum = np.sum(residuals_U**2) * num_users / (num_users - 1)
    return max(1.0, float(variance_of_sum / (impressions * rate * (1 - rate))))
