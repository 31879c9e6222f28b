"""Ranking metrics: functions of the place at which each user's true next item stands in a list.

Shapes: U users, K list length, N items, E feature dim.
"""

import numpy as np
from numpy.typing import NDArray
from sklearn.preprocessing import normalize

Ranks = NDArray[np.float64]
PerUser = NDArray[np.float64]


def ranks_of_targets(lists_UK: NDArray[np.integer], targets_U: NDArray[np.integer]) -> Ranks:
    """The 1-based place of each user's target in its list, infinity where it is absent.

    >>> ranks_of_targets(np.array([[4, 2], [1, 3]]), np.array([2, 7])).tolist()
    [2.0, inf]
    """
    hits_UK = lists_UK == targets_U[:, None]
    return np.where(hits_UK.any(axis=1), hits_UK.argmax(axis=1) + 1.0, np.inf)


def hits(ranks_U: Ranks, *, k: int) -> PerUser:
    """1 for each user whose target stands among the first k, else 0."""
    return (ranks_U <= k).astype(np.float64)


def gains(ranks_U: Ranks, *, k: int) -> PerUser:
    """Each user's discounted gain: [rank <= k] / log2(rank + 1)."""
    return np.where(ranks_U <= k, 1 / np.log2(ranks_U + 1), 0.0)


def recall_at_k(ranks_U: Ranks, *, k: int) -> float:
    """Share of users whose target stands among the first k: mean of [rank <= k].

    >>> recall_at_k(np.array([2.0, np.inf, 1.0, 4.0]), k=2)
    0.5
    """
    return float(hits(ranks_U, k=k).mean())


def ndcg_at_k(ranks_U: Ranks, *, k: int) -> float:
    """Normalised discounted cumulative gain with one relevant item: mean of [rank <= k] / log2(rank + 1).

    >>> ndcg_at_k(np.array([1.0, 3.0, np.inf, np.inf]), k=3)
    0.375
    """
    return float(gains(ranks_U, k=k).mean())


def mean_reciprocal_rank(ranks_U: Ranks) -> float:
    """Mean of 1 / rank, a target outside the list counting 0.

    >>> mean_reciprocal_rank(np.array([1.0, 2.0, np.inf, np.inf]))
    0.375
    """
    return float((1 / ranks_U).mean())


def bootstrap_interval(values_U: PerUser, *, resamples: int = 1000, seed: int = 0) -> tuple[float, float]:
    """The 95 % percentile interval of a mean over users, who are drawn with replacement (Efron 1979).

    >>> bootstrap_interval(np.ones(4), resamples=10)
    (1.0, 1.0)
    """
    rng = np.random.default_rng(seed)
    means = [values_U[rng.integers(0, len(values_U), len(values_U))].mean() for _ in range(resamples)]
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)


def catalogue_coverage(lists_UK: NDArray[np.integer], num_items: int) -> float:
    """Share of the catalogue that stands in at least one list; -1 marks an empty place.

    >>> catalogue_coverage(np.array([[0, 1], [1, -1]]), num_items=4)
    0.5
    """
    return len(np.unique(lists_UK[lists_UK >= 0])) / num_items


def intra_list_diversity(lists_UK: NDArray[np.integer], features_NE: NDArray[np.floating]) -> float:
    """Mean over users of 1 - the mean cosine similarity of the pairs within their lists (Ziegler et al. 2005).

    >>> intra_list_diversity(np.array([[0, 1]]), np.array([[1.0, 0.0], [0.0, 1.0]]))
    1.0
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
