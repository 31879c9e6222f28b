"""Compares RQRec with the best baseline, on the same test users. The console and the training report say the result.

Shapes: U users.
"""

from dataclasses import dataclass

from rqrec.training.evaluation.details import EvaluationDetails
from rqrec.training.evaluation.intervals import Mean, mean_of
from rqrec.training.evaluation.metrics import gains
from rqrec.training.evaluation.report import RQREC, RQREC_TIMED, SHOWN

K = 10
FEW_INTERACTIONS = 20_000
ADVICE = (
    "With so few interactions, the default recipe has few optimiser steps. On shops of 5,000 interactions, "
    "ShortTermSettings.batch_size = 32 with ShortTermSettings.learning_rate = 1e-2 was better "
    "(docs/experiments.md)."
)


@dataclass(frozen=True)
class Comparison:
    """RQRec and its best baseline, by NDCG@10.

    Attributes:
        baseline: Name of the baseline with the highest NDCG@10.
        own: NDCG@10 of RQRec, from 0 to 1.
        other: NDCG@10 of the baseline.
        difference: `own` minus `other`, with its 95 % interval over users.
        num_interactions: Number of items in the histories of the test users.
    """

    baseline: str
    own: float
    other: float
    difference: Mean
    num_interactions: int

    @property
    def is_better(self) -> bool:
        """Whether RQRec is better than the baseline, by more than chance."""
        return self.difference.low > 0

    def line(self) -> str:
        """Returns the sentence as a line of a console: a warning if RQRec is behind, in the mean."""
        return f"{'WARNING' if self.difference.value < 0 else 'NOTE'}: {self.sentence()}"

    def sentence(self) -> str:
        """Returns the result as a sentence, and where RQRec is not better, what may help."""
        place = "above" if self.is_better else "below" if self.difference.high < 0 else "not clearly different from"
        low, high = self.difference.low, self.difference.high
        text = (
            f"NDCG@{K} of {SHOWN[RQREC]} is {self.own:.4f}, {place} that of the best baseline, {self.baseline} "
            f"({self.other:.4f}; difference {self.difference.value:+.4f}, 95 % interval {low:+.4f} to {high:+.4f})."
        )
        return text if self.is_better or self.num_interactions >= FEW_INTERACTIONS else f"{text} {ADVICE}"


def compare_with_best_baseline(details: EvaluationDetails | None) -> Comparison | None:
    """Compares RQRec with the baseline that has the highest NDCG@10.

    Args:
        details: What was measured of each test user; None if no user was.

    Returns:
        The comparison; None if there is nothing to compare.
    """
    if details is None:
        return None
    own_U = gains(details.ranks[RQREC], k=K)
    baselines = {name: gains(one, k=K) for name, one in details.ranks.items() if name not in (RQREC, RQREC_TIMED)}
    if not baselines:
        return None
    best = max(baselines, key=lambda name: float(baselines[name].mean()))
    other_U = baselines[best]
    difference = mean_of(own_U - other_U)
    num_interactions = int(details.history_length_U.sum())
    return Comparison(best, float(own_U.mean()), float(other_U.mean()), difference, num_interactions)
