import numpy as np
import polars as pl
import pytest

from rqrec.models.tokenizer.featurizer import FittedBlock, number_values
from rqrec.training.features.numbers import MOST_KNOTS, fit_number, number_shares


def scored(values: list[float | None]) -> np.ndarray:
    column = pl.Series("price", values)
    return block_of(values).columns(column.to_frame(), {})[:, 0]


def block_of(values: list[float | None]) -> FittedBlock:
    block = fit_number("price", number_values(pl.Series("price", values)))
    assert block is not None
    return block


def test_scores_have_mean_0_and_variance_1() -> None:
    scores = scored(np.random.default_rng(0).lognormal(0, 3, 5000).tolist())
    assert scores.mean() == pytest.approx(0, abs=0.01)
    assert scores.std() == pytest.approx(1, abs=0.01)


def test_an_outlier_is_as_far_as_the_largest_number() -> None:
    ordinary = [float(price) for price in range(1, 21)]
    assert scored([*ordinary, 21.0]) == pytest.approx(scored([*ordinary, 1e12]))


def test_equal_numbers_have_equal_scores_and_missing_ones_stand_at_the_mean() -> None:
    scores = scored([5.0, 5.0, 7.0, None, float("nan")])
    assert scores[0] == scores[1] < 0 < scores[2]
    assert scores[3] == scores[4] == 0


def test_a_number_with_many_values_has_few_knots_that_rise() -> None:
    block = block_of(np.random.default_rng(0).normal(size=5000).tolist())
    assert len(block.knots) == MOST_KNOTS
    assert (np.diff(block.knots) > 0).all()
    assert (np.diff(block.scores) > 0).all()


def test_one_number_for_all_scores_0() -> None:
    assert scored([3.0, 3.0, None]).tolist() == [0, 0, 0]


def test_a_column_without_a_number_makes_no_block() -> None:
    assert fit_number("price", number_values(pl.Series("price", [None, None], dtype=pl.Float64))) is None


def test_five_identical_columns_weigh_as_one() -> None:
    rng = np.random.default_rng(0)
    one, other = rng.normal(size=(2, 4000))
    shares = number_shares([one, one, one, one, one, other])
    assert shares[:5].sum() == pytest.approx(0.5, abs=0.01)
    assert shares.sum() == pytest.approx(1)


def test_a_column_that_is_constant_or_reversed_counts_once() -> None:
    up = np.array([-1.0, 0.0, 1.0])
    assert number_shares([up, -up]).tolist() == [0.5, 0.5]
    assert number_shares([np.zeros(3)]).tolist() == [1]
