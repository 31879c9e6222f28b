import json
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.outcomes.returning_users import LIFT, ReturningUsers, measure, simulate_returning
from rqrec.models.array_types import IntArray
from rqrec.service.outcomes.confidence_sequence import ConfidenceSequence
from rqrec.service.outcomes.design_effect import design_effects

ALIKE = ReturningUsers(0.2, is_heavy_tailed=True, in_sessions=True, rate=0.3, impressions=10_000)
RUNS = 200


def as_independent(shown_TMB: IntArray, _: IntArray) -> NDArray[np.float64]:
    """The design effects of users whose impressions tell nothing about each other."""
    return np.ones(shown_TMB.shape[:2])


def test_equal_models_are_seldom_found_to_differ_with_the_estimated_design_effect_and_often_without() -> None:
    estimated, without = (
        np.isfinite(np.minimum(*simulate_returning(ALIKE, runs=RUNS, estimate=estimate))).mean()
        for estimate in (design_effects, as_independent)
    )
    assert estimated <= ConfidenceSequence().alpha
    assert without > 0.3


def test_a_better_and_a_worse_canary_are_found_where_users_return() -> None:
    scenario = ReturningUsers(0.05, is_heavy_tailed=False, in_sessions=False, rate=0.3)
    better, worse = (simulate_returning(replace(scenario, lift=lift), runs=RUNS // 4) for lift in (LIFT, -LIFT))
    assert (better.better < better.worse).mean() > 0.9
    assert (worse.worse < worse.better).mean() > 0.9


@pytest.mark.parametrize(("is_heavy_tailed", "in_sessions"), [(False, False), (False, True), (True, False)])
def test_counts_have_the_rates_the_shares_and_the_correlation_of_the_scenario(
    is_heavy_tailed: bool, in_sessions: bool
) -> None:
    scenario = ReturningUsers(0.05, is_heavy_tailed, in_sessions, share=0.2, rate=0.3, lift=0.5, impressions=20_000)
    ends = list[tuple[IntArray, IntArray]]()

    def note(shown_TMB: IntArray, successes_TMB: IntArray) -> NDArray[np.float64]:
        assert shown_TMB.sum(axis=(1, 2)).tolist() == list(range(500, 20_001, 500))
        ends.append((shown_TMB[-1], successes_TMB[-1]))
        return design_effects(shown_TMB, successes_TMB)

    simulate_returning(scenario, runs=40, step=500, estimate=note)
    shown, successes = (np.array(one) for one in zip(*ends, strict=True))
    canary_share = shown[:, 1].sum() / shown.sum()
    assert canary_share == pytest.approx(0.2, abs=0.02)
    assert successes.sum(axis=(0, 2)) / shown.sum(axis=(0, 2)) == pytest.approx([0.3, 0.45], abs=0.02)
    effects = design_effects(shown, successes)[:, 0]
    if is_heavy_tailed:
        assert np.median(effects) > 3
    else:
        assert np.median(effects) == pytest.approx(1 + 19 * 0.05, abs=0.2)


def test_a_short_run_has_figures_for_every_scenario() -> None:
    figures = measure(runs=1)
    assert json.loads(json.dumps(figures, allow_nan=False)) == figures
    assert [len(one) for one in figures.values() if isinstance(one, dict)] == [36, 6]
