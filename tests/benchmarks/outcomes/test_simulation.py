import numpy as np
import pytest

from benchmarks.outcomes.simulation import Scenario, simulate
from rqrec.models.array_types import IntArray
from rqrec.service.outcomes.confidence_sequence import Bounds


def observed(scenario: Scenario, *, runs: int) -> list[IntArray]:
    """The counts after every impression that a simulation gives to its intervals."""
    seen: list[IntArray] = []

    def bounds(*counts: IntArray) -> Bounds:
        seen.extend(counts)
        return np.zeros(counts[0].shape), np.zeros(counts[0].shape)

    simulate(scenario, bounds, runs=runs)
    return seen


@pytest.mark.parametrize("users", [None, 2_000])
def test_counts_grow_by_one_impression_and_have_the_rates_of_the_scenario(users: int | None) -> None:
    canary, canary_successes, active, active_successes = observed(
        Scenario(share=0.2, rate=0.3, lift=0.5, impressions=20_000, users=users), runs=10
    )
    assert ((canary + active) == np.arange(1, 20_001)).all()
    assert canary[:, -1].mean() / 20_000 == pytest.approx(0.2, abs=0.01)
    assert (canary_successes[:, -1] / canary[:, -1]).mean() == pytest.approx(0.45, abs=0.02)
    assert (active_successes[:, -1] / active[:, -1]).mean() == pytest.approx(0.3, abs=0.01)


def test_a_difference_is_found_at_the_first_impression_whose_interval_excludes_zero() -> None:
    def bounds(*counts: IntArray) -> Bounds:
        shown = counts[0] + counts[2]
        return np.where(np.isin(shown, (3, 5)), 0.1, -0.1), np.where(shown == 4, -0.1, 0.2)

    found = simulate(Scenario(share=0.5, rate=0.5, impressions=10), bounds, runs=2)
    assert (found.better.tolist(), found.worse.tolist()) == ([3, 3], [4, 4])


def test_what_is_never_found_has_no_impression() -> None:
    found = simulate(Scenario(share=0.5, rate=0.5, impressions=10), lambda *counts: (-counts[0], counts[0]), runs=3)
    assert found.better.tolist() == found.worse.tolist() == [np.inf] * 3
