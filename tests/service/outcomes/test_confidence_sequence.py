import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rqrec.service.outcomes.binary_outcomes import BinaryOutcomes
from rqrec.service.outcomes.confidence_sequence import ConfidenceSequence

SEQUENCE = ConfidenceSequence()


@st.composite
def outcomes(draw: st.DrawFn, least: int = SEQUENCE.least_count) -> BinaryOutcomes:
    """Outcomes with so many successes and failures or more."""
    successes, failures = draw(st.integers(least, 20_000)), draw(st.integers(least, 200_000))
    return BinaryOutcomes(successes + failures, successes)


def radius_of_paper(variance: float, size: float, sequence: ConfidenceSequence) -> float:
    """The formula as it is printed: sigma sqrt(2 (t rho² + 1) / (t² rho²) ln(sqrt(t rho² + 1) / alpha))."""
    level = -2 * math.log(sequence.alpha)
    scaled = size * (level + math.log(level + 1)) / sequence.tightest_at
    sigma = math.sqrt(variance * size)
    return sigma * math.sqrt(2 * (scaled + 1) / (size * scaled) * math.log(math.sqrt(scaled + 1) / sequence.alpha))


def test_a_difference_computed_by_hand() -> None:
    # Rates .12 and .1, .11 together; n = 2500 and V = .11 * .89 / 2500 = 3.916e-5, more than the separate estimate's
    # .1056 / 5000 + .09 / 5000. x = 5.9915 + ln 6.9915 = 7.9362: radius² = V * 1.12601 * (ln 8.9362 + 5.9915).
    lower, upper = SEQUENCE.difference(BinaryOutcomes(5_000, 600), BinaryOutcomes(5_000, 500))
    assert (lower, upper) == pytest.approx((0.02 - 0.018994, 0.02 + 0.018994), abs=2e-6)


def test_a_small_canary_with_more_successes_has_the_separate_variance() -> None:
    # Rates .2 and .1; V = .16 / 1000 + .09 / 9000 = 1.7e-4, more than .11 * .89 / 900. n = 900, x = 2.8570:
    # radius² = 1.7e-4 * 1.35001 * (ln 3.8570 + 5.9915).
    lower, upper = SEQUENCE.difference(BinaryOutcomes(1_000, 200), BinaryOutcomes(9_000, 900))
    assert (lower, upper) == pytest.approx((0.1 - 0.041047, 0.1 + 0.041047), abs=2e-6)


def test_a_rate_computed_by_hand() -> None:
    # Rate .5, V = .25 / 2500 = 1e-4, and x as above: radius² = 1e-4 * 1.12601 * 8.1816 = 9.2126e-4.
    assert SEQUENCE.rate(BinaryOutcomes(2_500, 1_250)) == pytest.approx((0.5 - 0.030352, 0.5 + 0.030352), abs=2e-6)


@given(canary=outcomes(), active=outcomes())
def test_the_radius_is_that_of_the_paper(canary: BinaryOutcomes, active: BinaryOutcomes) -> None:
    difference = canary.successes / canary.impressions - active.successes / active.impressions
    size = 1 / (1 / canary.impressions + 1 / active.impressions)
    separate = sum(one.successes * (one.impressions - one.successes) / one.impressions**3 for one in (canary, active))
    rate = (canary.successes + active.successes) / (canary.impressions + active.impressions)
    radius = radius_of_paper(max(separate, rate * (1 - rate) / size), size, SEQUENCE)
    lower, upper = SEQUENCE.difference(canary, active)
    assert lower == pytest.approx(max(-1, difference - radius))
    assert upper == pytest.approx(min(1, difference + radius))


@given(canary=outcomes(), active=outcomes())
def test_exchanged_models_give_the_mirrored_interval(canary: BinaryOutcomes, active: BinaryOutcomes) -> None:
    lower, upper = SEQUENCE.difference(canary, active)
    assert SEQUENCE.difference(active, canary) == (-upper, -lower)


@given(canary=outcomes(), active=outcomes())
def test_successes_exchanged_with_failures_mirror_the_interval(canary: BinaryOutcomes, active: BinaryOutcomes) -> None:
    lower, upper = SEQUENCE.difference(canary, active)
    turned = [BinaryOutcomes(one.impressions, one.impressions - one.successes) for one in (canary, active)]
    assert SEQUENCE.difference(*turned) == pytest.approx((-upper, -lower), abs=1e-12)


@given(canary=outcomes(least=200), active=outcomes(least=200))
def test_one_more_click_of_the_canary_never_moves_the_interval_down(
    canary: BinaryOutcomes, active: BinaryOutcomes
) -> None:
    before = SEQUENCE.difference(canary, active)
    after = SEQUENCE.difference(BinaryOutcomes(canary.impressions + 1, canary.successes + 1), active)
    assert after.lower >= before.lower - 1e-12
    assert after.upper >= before.upper - 1e-12


@given(canary=outcomes(), active=outcomes(), times=st.integers(2, 20))
def test_more_impressions_with_the_same_rates_narrow_the_interval(
    canary: BinaryOutcomes, active: BinaryOutcomes, times: int
) -> None:
    more = [BinaryOutcomes(times * one.impressions, times * one.successes) for one in (canary, active)]
    few, many = SEQUENCE.difference(canary, active), SEQUENCE.difference(*more)
    assert many.lower > few.lower or few.lower == -1
    assert many.upper < few.upper or few.upper == 1


@given(canary=outcomes(), active=outcomes(), alpha=st.floats(0.001, 0.04))
def test_a_smaller_probability_of_error_widens_the_interval(
    canary: BinaryOutcomes, active: BinaryOutcomes, alpha: float
) -> None:
    usual, careful = (one.difference(canary, active) for one in (SEQUENCE, ConfidenceSequence(alpha=alpha)))
    assert careful.lower <= usual.lower <= usual.upper <= careful.upper


@given(canary=outcomes(), active=outcomes(), times=st.integers(2, 20))
def test_a_design_effect_counts_as_so_many_times_fewer_impressions(
    canary: BinaryOutcomes, active: BinaryOutcomes, times: int
) -> None:
    many = [BinaryOutcomes(times * one.impressions, times * one.successes) for one in (canary, active)]
    repeated = ConfidenceSequence(design_effect=times)
    assert repeated.difference(*many) == pytest.approx(SEQUENCE.difference(canary, active))
    assert repeated.rate(many[0]) == pytest.approx(SEQUENCE.rate(canary))


@pytest.mark.parametrize("few", [BinaryOutcomes(0, 0), BinaryOutcomes(10_000, 24), BinaryOutcomes(10_000, 9_976)])
def test_too_few_outcomes_of_a_kind_leave_everything_open(few: BinaryOutcomes) -> None:
    enough = BinaryOutcomes(10_000, 5_000)
    assert SEQUENCE.difference(few, enough) == SEQUENCE.difference(enough, few) == (-1, 1)
    assert SEQUENCE.rate(few) == (0, 1)


def test_bounds_of_arrays_are_those_of_their_elements() -> None:
    counts = [np.array(one) for one in ([0, 5_000, 9_000], [0, 600, 24], [0, 5_000, 7_000], [0, 500, 700])]
    bounds = np.stack(SEQUENCE.difference_bounds(*counts), axis=1)
    single = [
        SEQUENCE.difference(BinaryOutcomes(a, b), BinaryOutcomes(c, d))
        for a, b, c, d in np.stack(counts, axis=1).tolist()
    ]
    assert bounds.tolist() == [list(one) for one in single]


def test_bounds_of_places_with_design_effects_are_those_of_sequences_with_them() -> None:
    counts = [np.array(one) for one in ([5_000, 5_000], [600, 600], [5_000, 5_000], [500, 500])]
    bounds = SEQUENCE.difference_bounds(*counts, design_effects=np.array([1.0, 3.0]))
    for place, effect in enumerate((1.0, 3.0)):
        expected = ConfidenceSequence(design_effect=effect).difference_bounds(*(one[:1] for one in counts))
        assert [one[place] for one in bounds] == [one[0] for one in expected]


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"alpha": 0.0}, "alpha between 0 and 1"),
        ({"alpha": 5.0}, "alpha between 0 and 1, such as 0.05, got 5.0"),
        ({"tightest_at": 0.0}, "tightest_at above 0"),
        ({"tightest_at": math.nan}, "tightest_at above 0"),
        ({"least_count": 0}, "least_count of 1 or more"),
        ({"design_effect": 0.5}, "design_effect of 1 .* got 0.5"),
    ],
)
def test_settings_out_of_range_are_refused(setting: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ConfidenceSequence(**setting)
