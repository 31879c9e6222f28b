"""The comparison with the best baseline says one thing, with its interval, and what may help."""

import numpy as np
import pytest

from rqrec.training.evaluation.comparison import compare_with_best_baseline
from rqrec.training.evaluation.details import EvaluationDetails
from rqrec.training.evaluation.report import ITEM_KNN, POPULARITY, RQREC, RQREC_TIMED

USERS = 40


def details_of(own_hits: int, baseline_hits: int, *, history_length: int = 20) -> EvaluationDetails:
    """Details in which so many of 40 users have their item at the first place, and the others not at all."""
    hits = {RQREC: own_hits, RQREC_TIMED: USERS, POPULARITY: 0, ITEM_KNN: baseline_hits}
    ranks = {name: np.where(np.arange(USERS) < count, 1.0, np.inf) for name, count in hits.items()}
    lengths_U, counts_N = np.full(USERS, history_length), np.zeros(200, dtype=np.int64)
    log_probs_R, is_hit_R = np.zeros(0, dtype=np.float32), np.zeros(0, dtype=np.bool_)
    return EvaluationDetails(lengths_U, lengths_U, ranks, dict.fromkeys(ranks, counts_N), log_probs_R, is_hit_R)


@pytest.mark.parametrize(
    ("own", "baseline", "place"),
    [(30, 10, "above"), (10, 30, "below"), (20, 21, "not clearly different from"), (20, 20, "not clearly different")],
)
def test_the_verdict_follows_from_the_interval(own: int, baseline: int, place: str) -> None:
    compared = compare_with_best_baseline(details_of(own, baseline))
    assert compared is not None
    assert compared.baseline == ITEM_KNN
    assert compared.difference.value == pytest.approx((own - baseline) / USERS)
    text = compared.sentence()
    assert f"NDCG@10 of RQRec is {own / USERS:.4f}, {place}" in text
    assert f"95 % interval {compared.difference.low:+.4f} to {compared.difference.high:+.4f}" in text
    assert compared.line() == f"{'WARNING' if own < baseline else 'NOTE'}: {text}"
    assert compared.is_better == (place == "above")
    assert ("ShortTermSettings.batch_size" in text) == (place != "above")


def test_much_data_gets_no_advice_for_little() -> None:
    compared = compare_with_best_baseline(details_of(1, 30, history_length=1000))
    assert compared is not None
    assert "ShortTermSettings" not in compared.sentence()


def test_without_details_nothing_is_compared() -> None:
    assert compare_with_best_baseline(None) is None
