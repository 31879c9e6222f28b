import numpy as np
import pytest

from rqrec.training.data.splits import Sequences
from rqrec.training.evaluation.metrics import (
    bootstrap_interval,
    catalogue_coverage,
    intra_list_diversity,
    mean_reciprocal_rank,
    ndcg_at_k,
    ranks_of_targets,
    recall_at_k,
    set_ndcg_at_k,
    set_recall_at_k,
)

LISTS = np.array([[3, 1, 4], [1, 5, 9], [2, 6, 5], [3, 5, -1]])
TARGETS = np.array([3, 9, 0, 5])  # ranks 1, 3, none, 2


def test_hand_computed_figures() -> None:
    ranks = ranks_of_targets(LISTS, TARGETS)
    assert ranks.tolist() == [1, 3, np.inf, 2]
    assert recall_at_k(ranks, k=2) == 0.5
    assert recall_at_k(ranks, k=3) == 0.75
    assert ndcg_at_k(ranks, k=2) == pytest.approx((1 + 1 / np.log2(3)) / 4)
    assert mean_reciprocal_rank(ranks) == pytest.approx((1 + 1 / 3 + 1 / 2) / 4)
    assert catalogue_coverage(LISTS, num_items=10) == 0.7


def test_diversity_is_one_minus_the_mean_cosine_of_pairs() -> None:
    features = np.array([[2.0, 0.0], [3.0, 0.0], [0.0, 1.0]])
    # Pairs (0, 1), (0, 2), (1, 2) have cosines 1, 0, 0.
    assert intra_list_diversity(np.array([[0, 1, 2]]), features) == pytest.approx(1 - 1 / 3)
    assert intra_list_diversity(np.array([[0, -1, -1]]), features) == 0.0


def test_bootstrap_interval_is_that_of_the_normal_approximation() -> None:
    values = (np.random.default_rng(1).random(5000) < 0.2).astype(np.float64)
    low, high = bootstrap_interval(values)
    error = 1.96 * values.std() / np.sqrt(len(values))
    assert low == pytest.approx(values.mean() - error, abs=0.1 * error)
    assert high == pytest.approx(values.mean() + error, abs=0.1 * error)


def test_sets_of_items_count_each_item_once_and_miss_what_is_not_listed() -> None:
    sets = Sequences.from_arrays(np.array([1, 1, 2, 3, 9], dtype=np.int32), np.array([0, 4, 5]))
    lists_UK = np.array([[2, 7, 1], [8, -1, -1]])
    assert set_recall_at_k(lists_UK, sets, k=3) == pytest.approx((2 / 3 + 0) / 2)
    best = 1 + 1 / np.log2(3) + 1 / 2
    assert set_ndcg_at_k(lists_UK, sets, k=3) == pytest.approx((1 + 1 / 2) / best / 2)


def test_a_list_shorter_than_k_is_measured() -> None:
    sets = Sequences.from_arrays(np.array([0, 1], dtype=np.int32), np.array([0, 2]))
    assert set_recall_at_k(np.array([[0]]), sets, k=5) == 0.5
