"""Numbers as features: scored by rank, so that outliers do not count, and weighted so that copies do not add up.

Shapes: N items, C number columns, K knots.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from rqrec.models.tokenizer.featurizer import FittedBlock, Given, Source

MOST_KNOTS = 101  # the percentiles, for a column with more distinct numbers than that
MOST_ROWS = 100_000  # of which correlations are computed


def fit_number(name: str, values: Given) -> FittedBlock | None:
    """Fits the scores of a number: normal quantiles of its rank (van der Waerden), with mean 0 and variance 1.

    Equal numbers have the mean of their ranks. Between two knots the score is interpolated.

    Args:
        name: The attribute's name.
        values: The numbers, shape (N, 1).

    Returns:
        The block with a weight of 1; None if there is no number.
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
    """Computes the share of each number in the weight of all numbers.

    A number counts 1 divided by the sum of its squared correlations with all numbers, itself included. So c equal
    columns count 1 / c each, and together as much as one column.

    >>> up, zigzag = np.array([-1.0, -1.0, 1.0, 1.0]), np.array([-1.0, 1.0, -1.0, 1.0])
    >>> number_shares([up, up, zigzag]).round(3).tolist()
    [0.25, 0.25, 0.5]

    Args:
        scores_C: The scores of each number, of shape (N,); 0 where it is missing.

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
