"""Turns number attributes into features.

A number becomes a score that depends on its rank among all items, so that outliers have little effect. Attributes with
the same information share one weight, so that it does not count several times.

Shapes: N items, C number columns, K knots (numbers whose scores are stored).
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from rqrec.models.tokenizer.featurizer import FittedBlock, Given, Source

MOST_KNOTS = 101  # the percentiles, for a column with more distinct numbers than that
MOST_ROWS = 100_000  # of which correlations are computed


def fit_number(name: str, values: Given) -> FittedBlock | None:
    """Fits the scores of a number attribute: the normal quantiles of the ranks, scaled to mean 0 and variance 1.

    These are van der Waerden scores. Equal numbers share one rank, the mean of their ranks. The scores of at most 101
    numbers are stored. These numbers are the knots; between two knots the score is interpolated.

    Args:
        name: Name of the attribute.
        values: The number of each item, shape (N, 1), and whether the item has a number.

    Returns:
        The fitted block, which computes the score of a number. Its weight in the loss is 1; the caller may change it.
        None if no item has a number.
    """
    numbers = values.vectors_NW[values.present_N, 0]
    if not len(numbers):
        return None
    distinct, counts = np.unique(numbers, return_counts=True)
    ranks = (np.cumsum(counts) - counts / 2) / len(numbers)
    chosen = np.unique(np.searchsorted(ranks, np.linspace(ranks[0], ranks[-1], MOST_KNOTS)))
    if len(distinct) <= MOST_KNOTS:
        chosen = np.arange(len(distinct))
    knots_K, scores_K = distinct[chosen], ndtri(ranks[chosen])
    scores_N = np.interp(numbers, knots_K, scores_K)
    deviation = float(scores_N.std()) if len(distinct) > 1 else 1.0
    scores_K = (scores_K - scores_N.mean()) / deviation
    return FittedBlock(
        name,
        Source.NUMBER,
        knots=tuple(map(float, knots_K)),
        scores=tuple(map(float, scores_K)),
        is_marked=not bool(values.present_N.all()),
    )


def number_shares(scores_C: Sequence[NDArray[np.floating]]) -> NDArray[np.float64]:
    """Computes how the weight of all number attributes is divided among them.

    The share of an attribute is proportional to 1 / (the sum of its squared correlations with all number attributes,
    itself included). So attributes with equal scores get together only as much as one attribute would get.

    >>> up, zigzag = np.array([-1.0, -1.0, 1.0, 1.0]), np.array([-1.0, 1.0, -1.0, 1.0])
    >>> number_shares([up, up, zigzag]).round(3).tolist()
    [0.25, 0.25, 0.5]

    Args:
        scores_C: For each number attribute, the scores of all items, shape (N,); 0 where the number is missing.

    Returns:
        Shares that add up to 1, shape (C,).
    """
    step = -(-len(scores_C[0]) // MOST_ROWS)
    scores_NC = np.column_stack([scores_N[::step] for scores_N in scores_C]).astype(np.float64)
    scores_NC -= scores_NC.mean(axis=0)
    lengths_C = np.linalg.norm(scores_NC, axis=0)
    scores_NC /= np.where(lengths_C > 0, lengths_C, 1)
    squared_CC = np.square(scores_NC.T @ scores_NC)
    counts_C = 1 / np.maximum(squared_CC.sum(axis=1), 1)
    return np.asarray(counts_C / counts_C.sum())
