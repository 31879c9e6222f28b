"""Draws random vectors that tell apart items whose features are equal.

Shapes: N items, W vector dimensions.
"""

import logging

import numpy as np

from rqrec.models.array_types import FloatArray
from rqrec.models.tokenizer.featurizer import Given
from rqrec.training.features.distinct import groups_of_equal_items

WIDTH = 16
MOST_EQUAL = 8  # items in one group: as many as the collision level of the smallest codebook tells apart
MOST_SHARED = 0.5  # share of the items that are equal to another item
logger = logging.getLogger("rqrec")


def identity_vectors(features_NE: FloatArray, *, seed: int) -> Given | None:
    """Draws a random vector for every item that has the same features as another item, if there are many such items.

    Items with equal features get equal codes from the RQ-VAE. Only the collision level, the last code of a semantic ID,
    tells them apart, and it can do so for a few items only. Items without attributes and without co-occurrence, for
    example, have equal features.

    Args:
        features_NE: Item features by item_index, shape (N, E); E may be 0.
        seed: Seed of the random numbers.

    Returns:
        One vector per item, which is 0 for an item with unique features. None if the collision level is enough: no more
        than 8 items have the same features, and at most half of all items share their features with another item.
    """
    group_N = groups_of_equal_items(features_NE)
    sizes_N = np.bincount(group_N)[group_N]
    is_equal_N = sizes_N > 1
    if sizes_N.max() <= MOST_EQUAL and is_equal_N.mean() <= MOST_SHARED:
        return None
    logger.warning(
        "%d of %d items have the same features as another item (largest group: %d), so random vectors tell them apart: "
        "to make their semantic IDs meaningful, give the items attributes, or more users with several items",
        is_equal_N.sum(),
        len(group_N),
        sizes_N.max(),
    )
    drawn_NW = np.random.default_rng(seed).standard_normal((len(group_N), WIDTH)).astype(np.float32)
    return Given(drawn_NW * is_equal_N[:, None], np.ones(len(group_N), dtype=np.bool_))
