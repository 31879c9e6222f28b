"""The bonus of own items and following items, and its penalty, follow from the data."""

import numpy as np
import pytest

from rqrec.models.search.history.bonus import HistoryBonus
from rqrec.models.search.history.own_weights import AGE_CLASSES, MOST_COUNTED, OwnItemWeights
from rqrec.training.history.bonus_fit import (
    PENALTIES,
    _best_penalty,
    _bonus,
    _Choices,
    _fitted,
    _OfUser,
    _scaled,
    _steps,
    _with_useful_columns,
)

CANDIDATES = 12


def users(number: int, *, weight: float) -> list[_OfUser]:
    """Users whose next item is drawn by softmax over weight times its count."""
    rng, parts = np.random.default_rng(0), []
    for _ in range(number):
        counts, ages = rng.integers(1, 9, CANDIDATES), rng.integers(0, 50, CANDIDATES)
        drawn = (weight * counts + rng.gumbel(size=CANDIDATES)).argmax()
        features = np.column_stack([rng.normal(size=CANDIDATES), np.zeros((CANDIDATES, 2)), _steps(counts, ages)])
        parts.append((features, np.arange(CANDIDATES) == drawn))
    return parts


def test_a_clear_effect_is_hardly_penalised_and_grows_with_the_count() -> None:
    parts = users(1000, weight=1.0)
    penalty = _best_penalty(parts)
    assert penalty <= PENALTIES[2]
    bonus = _bonus(_fitted(_Choices.joined(parts), penalty)).history
    assert bonus.own is not None
    assert (np.diff(bonus.own.by_count) > 0).all()
    assert bonus.following is None  # the signal is 0 everywhere


@pytest.mark.parametrize("number", [1, 40])
def test_chance_is_penalised_most(number: int) -> None:
    assert _best_penalty(users(number, weight=0.0)) == PENALTIES[-1]


def test_the_gradient_is_that_of_the_loss() -> None:
    choices, at = _Choices.joined(users(20, weight=0.5)), np.linspace(-0.3, 0.3, 20)
    _, gradient_F = choices.loss(at)
    for feature in range(len(at)):
        step = np.eye(len(at))[feature] * 1e-5
        slope = (choices.loss(at + step)[0] - choices.loss(at - step)[0]) / 2e-5
        assert gradient_F[feature] == pytest.approx(slope, abs=1e-4)


def followers(number: int, *, weight: float) -> list[_OfUser]:
    """Users whose next item is drawn by softmax over half its score plus weight times its signal."""
    rng, parts = np.random.default_rng(0), []
    for _ in range(number):
        scores, signals = rng.normal(size=CANDIDATES), np.maximum(rng.normal(size=CANDIDATES), 0)
        drawn = (0.5 * scores + weight * signals + rng.gumbel(size=CANDIDATES)).argmax()
        parts.append((np.column_stack([scores, signals, np.zeros(CANDIDATES)]), np.arange(CANDIDATES) == drawn))
    return parts


@pytest.mark.parametrize(("weight", "expected"), [(1.5, 3.0), (0.0, None), (-1.0, None)])
def test_the_weight_of_following_items_is_found_and_never_negative(weight: float, expected: float | None) -> None:
    parts = followers(2000, weight=weight)
    bonus = _bonus(_fitted(_Choices.joined(parts), _best_penalty(parts))).history
    assert bonus.own is None
    assert bonus.following == (None if expected is None else pytest.approx(expected, rel=0.2))


def test_the_more_users_there_are_the_further_the_weight_goes_from_an_earlier_one() -> None:
    def later(number: int) -> float:
        parts, before = followers(number, weight=1.5), HistoryBonus(None, 9.0)
        following = _bonus(_fitted(_Choices.joined(parts), _best_penalty(parts, before), before)).history.following
        assert following is not None
        return following

    assert 3.0 < later(3000) < 5.0 < later(500) < 8.0 < later(50) < 9.0


def test_users_who_choose_as_before_leave_the_weights_of_own_items_as_they_were() -> None:
    own = OwnItemWeights(tuple(np.arange(MOST_COUNTED) / 4), (0.0,) + (-0.5,) * (AGE_CLASSES - 1))
    rng, parts, before = np.random.default_rng(0), list[_OfUser](), HistoryBonus(own, None)
    for _ in range(300):
        scores, counts, ages = rng.normal(size=CANDIDATES), *rng.integers(1, 30, (2, CANDIDATES))
        drawn = (2 * (scores + own.bonus(counts, ages)) + rng.gumbel(size=CANDIDATES)).argmax()
        features = np.column_stack([scores, np.zeros((CANDIDATES, 2)), _steps(counts, ages)])
        parts.append((features, np.arange(CANDIDATES) == drawn))
    bonus = _bonus(_fitted(_Choices.joined(parts), PENALTIES[-1], before)).history.own
    assert bonus is not None
    assert bonus.by_count == pytest.approx(own.by_count, abs=0.1)
    assert bonus.by_age == pytest.approx(own.by_age, abs=0.1)


def agreeing(number: int, *, weight: float) -> list[_OfUser]:
    """Users whose next item is drawn by softmax over half its score plus weight times its long-term relevance."""
    rng, parts = np.random.default_rng(0), []
    for _ in range(number):
        scores, relevance = rng.normal(size=CANDIDATES), 0.1 * rng.normal(size=CANDIDATES)
        drawn = (0.5 * scores + weight * relevance + rng.gumbel(size=CANDIDATES)).argmax()
        features = np.column_stack([scores, np.zeros(CANDIDATES), relevance])
        parts.append((features, np.arange(CANDIDATES) == drawn))
    return parts


@pytest.mark.parametrize(
    ("number", "weight", "expected"), [(2000, 10.0, 20.0), (2000, 0.0, 0.0), (2000, -10.0, 0.0), (3, 10.0, 0.0)]
)
def test_the_long_term_relevance_has_a_weight_only_if_it_helps(number: int, weight: float, expected: float) -> None:
    for unit in (1.0, 1e-3):  # the scale of the values changes nothing
        plain = [(features_CF * [1, 1, unit], target) for features_CF, target in agreeing(number, weight=weight)]
        parts, deviation = _scaled(plain)
        penalty = _best_penalty(parts)
        fitted = _bonus(_fitted(_Choices.joined(_with_useful_columns(parts, penalty)), penalty))
        assert fitted.long_term / deviation * unit == pytest.approx(expected, rel=0.2)
