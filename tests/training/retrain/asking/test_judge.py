"""The verdict: an interval over users, whose interactions depend on each other."""

import numpy as np

from rqrec.training.retrain.asking.judge import Verdict, interval_over_users, load_verdict


def test_the_interval_is_that_of_users_and_not_of_interactions() -> None:
    rng = np.random.default_rng(0)
    of_user_U = rng.normal(size=50)
    user_Q = np.repeat(np.arange(50), 40)
    low, high = interval_over_users(of_user_U[user_Q], user_Q)
    assert low < of_user_U.mean() < high
    assert 0.8 < (high - low) / (2 * 1.96 * of_user_U.std() / np.sqrt(50)) < 1.2


def test_a_user_counts_by_the_number_of_interactions() -> None:
    low, high = interval_over_users(np.array([1.0, 1.0, 1.0, 0.0]), np.array([0, 0, 0, 1]))
    assert (low, high) == (0.0, 1.0)


def test_without_questions_anything_is_possible() -> None:
    assert interval_over_users(np.array([]), np.array([], dtype=np.int64)) == (-1.0, 1.0)


def verdict(high: float, users: int) -> Verdict:
    return Verdict(0.2, 0.1, -0.2, high, users, 100)


def test_worse_is_only_what_is_beyond_the_interval() -> None:
    assert verdict(-0.01, 20).is_worse(judged_users=20)
    assert not verdict(0.01, 20).is_worse(judged_users=20)
    assert not verdict(-0.01, 19).is_worse(judged_users=20)


def test_the_verdict_is_read_from_the_stored_figures() -> None:
    results = {
        "before_retraining": {"ndcg@10": 0.2},
        "rqrec": {"ndcg@10": 0.1},
        "retrained_minus_before": {"low": -0.2, "high": -0.01, "users": 20.0, "interactions": 100.0},
    }
    assert load_verdict(results) == verdict(-0.01, 20)
