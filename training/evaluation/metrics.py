"""Ranking metrics. Most of them are functions of the rank at which a list contains the user's true next item.

Shapes: U users, K list length, N items, E feature columns.
"""

import numpy as np
from numpy.typing import NDArray
from sklearn.preprocessing import normalize

from rqrec.training.data.splits import Sequences

Ranks = NDArray[np.float64]
PerUser = NDArray[np.float64]


def ranks_of_targets(lists_UK: NDArray[np.integer], targets_U: NDArray[np.integer]) -> Ranks:
    """Returns the 1-based rank of each user's target in the user's list, or infinity if it is not in the list.

    >>> ranks_of_targets(np.array([[4, 2], [1, 3]]), np.array([2, 7])).tolist()
    [2.0, inf]

    Args:
        lists_UK: The recommendation list of each user: item_index, best first.
        targets_U: The item_index of each user's true next item.
    """
    hits_UK = lists_UK == targets_U[:, None]
    return np.where(hits_UK.any(axis=1), hits_UK.argmax(axis=1) + 1.0, np.inf)


def hits(ranks_U: Ranks, *, k: int) -> PerUser:
    """Returns 1.0 for each user whose target is among the first k items of the list, else 0.0.

    Args:
        ranks_U: The rank of each user's target (the true next item) in the user's list, from `ranks_of_targets`: 1 is
            best, infinity means not in the list.
        k: How many items at the start of the list count.
    """
    return (ranks_U <= k).astype(np.float64)


def gains(ranks_U: Ranks, *, k: int) -> PerUser:
    """Returns each user's discounted gain: 1 / log2(rank + 1) if rank <= k, else 0.

    Args:
        ranks_U: The rank of each user's target (the true next item) in the user's list, from `ranks_of_targets`: 1 is
            best, infinity means not in the list.
        k: How many items at the start of the list count.
    """
    return np.where(ranks_U <= k, 1 / np.log2(ranks_U + 1), 0.0)


def recall_at_k(ranks_U: Ranks, *, k: int) -> float:
    """Returns the share of users whose target is among the first k items of their list.

    >>> recall_at_k(np.array([2.0, np.inf, 1.0, 4.0]), k=2)
    0.5

    Args:
        ranks_U: The rank of each user's target (the true next item) in the user's list, from `ranks_of_targets`: 1 is
            best, infinity means not in the list.
        k: How many items at the start of the list count.
    """
    return float(hits(ranks_U, k=k).mean())


def ndcg_at_k(ranks_U: Ranks, *, k: int) -> float:
    """Returns the normalised discounted cumulative gain (NDCG) with one relevant item per user: the mean of `gains`.

    >>> ndcg_at_k(np.array([1.0, 3.0, np.inf, np.inf]), k=3)
    0.375

    Args:
        ranks_U: The rank of each user's target (the true next item) in the user's list, from `ranks_of_targets`: 1 is
            best, infinity means not in the list.
        k: How many items at the start of the list count.
    """
    return float(gains(ranks_U, k=k).mean())


def mean_reciprocal_rank(ranks_U: Ranks) -> float:
    """Returns the mean over users of 1 / rank, where rank is that of the user's true next item in the user's list.

    An item that is not in the list has the rank infinity, and counts 0.

    >>> mean_reciprocal_rank(np.array([1.0, 2.0, np.inf, np.inf]))
    0.375
    """
    return float((1 / ranks_U).mean())


def bootstrap_interval(values_U: PerUser, *, resamples: int = 1000, seed: int = 0) -> tuple[float, float]:
    """Returns a 95 % confidence interval of a mean over users, by the percentile bootstrap (Efron 1979).

    >>> bootstrap_interval(np.ones(4), resamples=10)
    (1.0, 1.0)

    Args:
        values_U: One value per user, for example from `hits` or `gains`.
        resamples: Number of samples. Each sample draws U users with replacement.
        seed: Seed of the samples.

    Returns:
        The bounds of the interval: the 2.5th and the 97.5th percentile of the samples' means.
    """
    rng = np.random.default_rng(seed)
    means = [values_U[rng.integers(0, len(values_U), len(values_U))].mean() for _ in range(resamples)]
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)


def is_in_sets(lists_UK: NDArray[np.integer], sets: Sequences) -> NDArray[np.bool_]:
    """Returns for each item of a user's list whether it is in the user's set of relevant items, shape (U, K).

    Args:
        lists_UK: The list of each user: item_index; -1 stands for no item.
        sets: The relevant items of each user; row u belongs to list u.
    """
    wanted = np.unique((sets.rows_I << 32) | sets.items_I)
    users_U1 = np.arange(len(lists_UK))[:, None]
    return np.isin((users_U1 << 32) | np.maximum(lists_UK, 0), wanted) & (lists_UK >= 0)


def set_recall_at_k(lists_UK: NDArray[np.integer], sets: Sequences, *, k: int) -> float:
    """Returns the mean recall@k over users: the share of a user's relevant items that is among the first k items.

    >>> two = Sequences.from_arrays(np.array([1, 2, 2, 9], dtype=np.int32), np.array([0, 3, 4]))
    >>> set_recall_at_k(np.array([[2, 5, 1], [8, 9, 7]]), two, k=2)
    0.75

    Args:
        lists_UK: The list of each user: item_index, best first; -1 stands for no item.
        sets: The relevant items of each user, at least one; an item that occurs twice counts once.
        k: How many items at the start of the list count.
    """
    found_U = is_in_sets(lists_UK[:, :k], sets).sum(axis=1)
    return float((found_U / _set_sizes(sets)).mean())


def set_ndcg_at_k(lists_UK: NDArray[np.integer], sets: Sequences, *, k: int) -> float:
    """Returns the normalised discounted cumulative gain (NDCG) with several relevant items, as a mean over users.

    The gain of each list is divided by the largest possible gain: that of a list with all relevant items first.

    >>> two = Sequences.from_arrays(np.array([1, 2], dtype=np.int32), np.array([0, 2]))
    >>> set_ndcg_at_k(np.array([[1, 2, 3]]), two, k=3)
    1.0

    Args:
        lists_UK: The list of each user: item_index, best first; -1 stands for no item.
        sets: The relevant items of each user, at least one; an item that occurs twice counts once.
        k: How many items at the start of the list count.
    """
    hits_UK = is_in_sets(lists_UK[:, :k], sets)
    gains_K = 1 / np.log2(np.arange(k) + 2)
    best_U = np.cumsum(gains_K)[np.minimum(_set_sizes(sets), k) - 1]
    return float((hits_UK @ gains_K[: hits_UK.shape[1]] / best_U).mean())


def _set_sizes(sets: Sequences) -> NDArray[np.int64]:
    pairs = np.unique((sets.rows_I << 32) | sets.items_I)
    return np.bincount(pairs >> 32, minlength=len(sets))


def catalogue_coverage(lists_UK: NDArray[np.integer], num_items: int) -> float:
    """Returns the share of the catalogue's items that are in at least one list.

    >>> catalogue_coverage(np.array([[0, 1], [1, -1]]), num_items=4)
    0.5

    Args:
        lists_UK: The list of each user: item_index; -1 stands for no item.
        num_items: N, the number of items in the catalogue.
    """
    return len(np.unique(lists_UK[lists_UK >= 0])) / num_items


def intra_list_diversity(lists_UK: NDArray[np.integer], features_NE: NDArray[np.floating]) -> float:
    """Returns 1 minus the mean cosine between the items of a list, as a mean over users (Ziegler et al. 2005).

    >>> intra_list_diversity(np.array([[0, 1]]), np.array([[1.0, 0.0], [0.0, 1.0]]))
    1.0

    Args:
        lists_UK: The list of each user: item_index; -1 stands for no item. Lists of fewer than two items do not count.
        features_NE: Item features by item_index, shape (N, E).
    """
    unit_NE = normalize(features_NE)
    diversities = []
    for row in lists_UK:
        vectors = unit_NE[row[row >= 0]]
        pairs = len(vectors) * (len(vectors) - 1)
        if pairs:
            similarity = (np.square(vectors.sum(axis=0)).sum() - np.square(vectors).sum()) / pairs
            diversities.append(1 - similarity)
    return float(np.mean(diversities)) if diversities else 0.0
