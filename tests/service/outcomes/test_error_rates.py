import math

import numpy as np
import pytest

from benchmarks.outcomes.simulation import Found, Scenario, simulate
from rqrec.models.array_types import IntArray
from rqrec.service.outcomes.confidence_sequence import Bounds, ConfidenceSequence

SEQUENCE = ConfidenceSequence()
RUNS = 200


def ever_found(found: Found) -> float:
    """The share of the runs in which any difference was found."""
    return float(np.isfinite(np.minimum(found.better, found.worse)).mean())


def usual_bounds(canary_n: IntArray, canary_s: IntArray, active_n: IntArray, active_s: IntArray) -> Bounds:
    """The usual 95 % interval, which holds at one time only."""
    canary, active = canary_s / np.maximum(canary_n, 1), active_s / np.maximum(active_n, 1)
    radius = 1.96 * np.sqrt(
        canary * (1 - canary) / np.maximum(canary_n, 1) + active * (1 - active) / np.maximum(active_n, 1)
    )
    known = np.minimum(canary_s, active_s) >= SEQUENCE.least_count
    return np.where(known, canary - active - radius, -math.inf), np.where(known, canary - active + radius, math.inf)


@pytest.mark.parametrize(("share", "rate"), [(0.5, 0.02), (0.5, 0.3), (0.1, 0.1)])
def test_equal_models_that_are_watched_all_the_time_are_seldom_found_to_differ(share: float, rate: float) -> None:
    found = simulate(Scenario(share, rate, impressions=10_000), SEQUENCE.difference_bounds, runs=RUNS)
    assert ever_found(found) <= SEQUENCE.alpha


def test_the_usual_interval_finds_differences_of_equal_models_when_it_is_watched() -> None:
    found = simulate(Scenario(share=0.5, rate=0.3, impressions=10_000), usual_bounds, runs=RUNS)
    assert ever_found(found) > 0.3


def test_the_true_difference_is_seldom_outside_of_the_interval_at_any_time() -> None:
    scenario = Scenario(share=0.3, rate=0.2, lift=0.2, impressions=10_000)

    def bounds_of_error(*counts: IntArray) -> Bounds:
        lower, upper = SEQUENCE.difference_bounds(*counts)
        return lower - scenario.rate * scenario.lift, upper - scenario.rate * scenario.lift

    assert ever_found(simulate(scenario, bounds_of_error, runs=RUNS)) <= SEQUENCE.alpha


def test_a_better_and_a_worse_canary_are_found_soon() -> None:
    better, worse = (
        simulate(Scenario(share=0.5, rate=0.3, lift=lift, impressions=30_000), SEQUENCE.difference_bounds, runs=RUNS)
        for lift in (0.1, -0.1)
    )
    assert (better.better < better.worse).mean() > 0.95
    assert (worse.worse < worse.better).mean() > 0.95
    assert np.median(better.better) < 9_000


def test_users_who_return_cause_false_alarms_that_the_design_effect_prevents() -> None:
    scenario = Scenario(share=0.5, rate=0.1, impressions=10_000, users=500, concentration=4)  # a design effect of 5
    independent, by_user = (
        ever_found(simulate(scenario, ConfidenceSequence(design_effect=effect).difference_bounds, runs=RUNS))
        for effect in (1, 5)
    )
    assert independent > 0.2
    assert by_user <= SEQUENCE.alpha
