"""Finds items with equal features, to which the RQ-VAE always gives equal codes.

Shapes: N items, E feature columns.
"""

import numpy as np

from rqrec.models.array_types import FloatArray, IntArray

STEP = 1e-3  # features that round to the same multiple are equal; every block has a variance of about 1
ROWS_AT_ONCE = 1 << 14


def groups_of_equal_items(features_NE: FloatArray) -> IntArray:
    """Gives each item a group number. Items with equal features have the same number.

    Features are equal if they round to the same multiple of 0.001. They are compared by a hash of 64 bits, to save
    memory. Among 10 million different items, two have the same hash with a probability of 3e-6.

    >>> groups_of_equal_items(np.array([[0.5, 1.0], [0.5, 0.0], [0.5, 1.0]], dtype=np.float32)).tolist()
    [0, 1, 0]

    Args:
        features_NE: Item features by item_index, shape (N, E).

    Returns:
        The group number of each item, int64, shape (N,). Groups are numbered from 0 in the order of their first items.
    """
    factors_E = np.random.default_rng(0).integers(-(2**63), 2**63 - 1, features_NE.shape[1], dtype=np.int64) | 1
    hashes_N = np.empty(len(features_NE), dtype=np.int64)
    for begin in range(0, len(features_NE), ROWS_AT_ONCE):
        rows_NE = features_NE[begin : begin + ROWS_AT_ONCE]
        hashes_N[begin : begin + ROWS_AT_ONCE] = np.rint(rows_NE / STEP).astype(np.int64) @ factors_E
    _, first, group_N = np.unique(hashes_N, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[group_N]
