import numpy as np
import pytest

from rqrec.models.array_types import IntArray
from rqrec.service.outcomes.design_effect import design_effect, design_effects


def users(*counts: tuple[int, int]) -> tuple[IntArray, IntArray]:
    """The impressions and the successes of users, given as pairs of both."""
    return np.array([one[0] for one in counts]), np.array([one[1] for one in counts])


def test_a_design_effect_computed_by_hand() -> None:
    # Rate 1 / 2; residuals 2, -2, 0, 0: sum of squares 8, times 4 / 3; of 12 independent impressions 3.
    assert design_effect(*users((4, 4), (4, 0), (2, 1), (2, 1))) == pytest.approx(8 * 4 / 3 / 3)


def test_users_who_always_do_the_same_count_as_one_impression_each() -> None:
    rng = np.random.default_rng(0)
    clicks_always_U = rng.random(20_000) < 0.3
    assert design_effect(np.full(20_000, 7), 7 * clicks_always_U) == pytest.approx(7, rel=0.01)


def test_independent_impressions_have_no_design_effect() -> None:
    rng = np.random.default_rng(0)
    impressions_U = rng.integers(1, 40, 20_000)
    assert design_effect(impressions_U, rng.binomial(impressions_U, 0.1)) == pytest.approx(1, abs=0.03)


def test_rates_that_differ_by_user_have_the_design_effect_of_their_correlation() -> None:
    rng = np.random.default_rng(0)
    successes_U = rng.binomial(20, rng.beta(1.9, 17.1, 20_000))
    assert design_effect(np.full(20_000, 20), successes_U) == pytest.approx(1 + 19 / 20, rel=0.05)


def test_more_equal_users_than_chance_has_are_no_bonus() -> None:
    assert design_effect(*users((2, 1), (2, 1), (2, 1))) == 1


@pytest.mark.parametrize("counts", [((5, 2),), ((5, 0), (4, 0)), ((5, 5), (4, 4))])
def test_data_that_tells_nothing_is_refused(counts: tuple[tuple[int, int], ...]) -> None:
    with pytest.raises(ValueError, match="expected two or more users, .* use more days"):
        design_effect(*users(*counts))


def test_the_effects_of_many_times_are_those_of_each_time() -> None:
    rng = np.random.default_rng(0)
    shown_TU = rng.integers(0, 4, (30, 12)).cumsum(axis=0)
    successes_TU = rng.binomial(shown_TU, rng.beta(1, 2, 12))
    effects_T = design_effects(shown_TU, successes_TU)
    for shown_U, successes_U, effect in zip(shown_TU[1:], successes_TU[1:], effects_T[1:], strict=True):
        are_seen = shown_U > 0
        assert effect == pytest.approx(design_effect(shown_U[are_seen], successes_U[are_seen]))
    assert effects_T.max() > 1.5


def test_counts_that_tell_nothing_have_no_design_effect() -> None:
    shown_TU, successes_TU = np.array([[0, 0], [3, 0], [3, 2], [3, 2]]), np.array([[0, 0], [1, 0], [0, 0], [3, 2]])
    assert design_effects(shown_TU, successes_TU).tolist() == [1, 1, 1, 1]
