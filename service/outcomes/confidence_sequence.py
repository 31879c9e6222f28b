"""Confidence sequences: intervals for rates and their differences that hold at all times together.

A usual 95 % interval is made for one look. Who looks again and again until it excludes 0 finds a difference sooner or
later, also between equal models. A confidence sequence is ever wrong, at any of all times, with a probability of at
most `alpha`. So it may be read after every event, and a trial may end as soon as the interval says enough.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rqrec.models.array_types import IntArray
from rqrec.service.outcomes.binary_outcomes import BinaryOutcomes

FloatArray = NDArray[np.float64]
Bounds = tuple[FloatArray, FloatArray]


class Interval(NamedTuple):
    """An interval with both its ends."""

    lower: float
    upper: float


@dataclass(frozen=True)
class ConfidenceSequence:
    """The asymptotic confidence sequence of a normal mixture, for rates of binary outcomes.

    With the sample size n, the estimated variance V of the estimate, and x = n rho²:

        radius² = V (1 + 1 / x) ln((1 + x) / alpha²)

    The size of a difference is the harmonic one, n = n_1 n_2 / (n_1 + n_2). Its variance V is the larger of the
    separate estimate, r_1 (1 - r_1) / n_1 + r_2 (1 - r_2) / n_2, and the pooled one, r (1 - r) / n with the rate r of
    both models together. The separate estimate alone is too small where a small canary by chance has few successes.

    The formula is that of Waudby-Smith et al. 2024 (https://arxiv.org/abs/2103.06476). It needs no counts but the
    present ones. The normal approximation needs some outcomes; until then, an interval holds every possible value.

    Attributes:
        alpha: Largest probability that an interval is wrong at any time, in (0, 1).
        tightest_at: The size n for which rho is chosen: there, the radius is smallest. The choice matters little: where
            n is a third of it or three times as much, the radius is at most 5 % larger than with the best rho.
        least_count: Successes and failures that each model needs before an interval says anything, at least 1.
        design_effect: How much the variance exceeds that of independent impressions, at least 1; see `design_effect`.

    Raises:
        ValueError: If a value is out of its range.
    """

    alpha: float = 0.05
    tightest_at: float = 2_500
    least_count: int = 25
    design_effect: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.alpha < 1:
            raise ValueError(f"expected alpha between 0 and 1, such as 0.05, got {self.alpha}")
        if not 0 < self.tightest_at < math.inf:
            raise ValueError(f"expected tightest_at above 0, such as 2500 impressions, got {self.tightest_at}")
        if self.least_count < 1:
            raise ValueError(f"expected least_count of 1 or more, such as 25, got {self.least_count}")
        if not 1 <= self.design_effect < math.inf:
            raise ValueError(f"expected design_effect of 1 (independent impressions) or more, got {self.design_effect}")

    def rate(self, outcomes: BinaryOutcomes) -> Interval:
        """Returns the interval of a model's rate, within [0, 1]."""
        shown, successes = np.asarray(outcomes.impressions), np.asarray(outcomes.successes)
        size, rate = self._size_and_rate(shown, successes, np.asarray(self.design_effect))
        lower, upper = self._bounds(rate, rate * (1 - rate) / size, size, lowest=0)
        return Interval(lower.item(), upper.item())

    def difference(self, canary: BinaryOutcomes, active: BinaryOutcomes) -> Interval:
        """Returns the interval of the canary's rate minus the active model's, within [-1, 1].

        Args:
            canary: The outcomes of the canary.
            active: The outcomes of the active model in the same time.
        """
        lower, upper = self.difference_bounds(
            np.asarray(canary.impressions),
            np.asarray(canary.successes),
            np.asarray(active.impressions),
            np.asarray(active.successes),
        )
        return Interval(lower.item(), upper.item())

    def difference_bounds(
        self,
        canary_impressions: IntArray,
        canary_successes: IntArray,
        active_impressions: IntArray,
        active_successes: IntArray,
        *,
        design_effects: FloatArray | None = None,
    ) -> Bounds:
        """Computes the intervals of `difference` for arrays of counts, which all have one shape.

        Args:
            canary_impressions: How many recommendations of the canary were shown.
            canary_successes: How many of them had the outcome.
            active_impressions: How many recommendations of the active model were shown.
            active_successes: How many of them had the outcome.
            design_effects: The design effect of each place; None for that of the sequence.

        Returns:
            The lower and the upper bounds, in the shape of the counts.
        """
        effects = np.asarray(self.design_effect) if design_effects is None else design_effects
        canary_size, canary_rate = self._size_and_rate(canary_impressions, canary_successes, effects)
        active_size, active_rate = self._size_and_rate(active_impressions, active_successes, effects)
        total = canary_size + active_size
        size = canary_size * active_size / total
        separate = canary_rate * (1 - canary_rate) / canary_size + active_rate * (1 - active_rate) / active_size
        rate = (canary_rate * canary_size + active_rate * active_size) / total
        pooled = rate * (1 - rate) / size
        return self._bounds(canary_rate - active_rate, np.maximum(separate, pooled), size, lowest=-1)

    def _size_and_rate(
        self, impressions: IntArray, successes: IntArray, design_effects: FloatArray
    ) -> tuple[FloatArray, FloatArray]:
        """The effective number of impressions, and the rate; NaN where there are too few outcomes."""
        known = np.minimum(successes, impressions - successes) >= self.least_count * design_effects
        shown = np.where(known, impressions, np.nan)
        return shown / design_effects, successes / shown

    def _bounds(self, estimate: FloatArray, variance: FloatArray, size: FloatArray, *, lowest: float) -> Bounds:
        level = -2 * math.log(self.alpha)
        x = size / self.tightest_at * (level + math.log1p(level))  # nearly the best rho for this size
        radius = np.sqrt(variance * (1 + 1 / x) * (np.log1p(x) + level))
        lower, upper = np.maximum(estimate - radius, lowest), np.minimum(estimate + radius, 1)
        return np.nan_to_num(lower, nan=lowest), np.nan_to_num(upper, nan=1)
