"""Synthetic catalogues of any size, whose semantic IDs are as skewed as real ones.

Shapes: N items, L levels (with the collision level), V codes per level.
"""

import numpy as np
from numpy.typing import NDArray

from rqrec.models.trie.semantic_ids import append_collision_codes
from rqrec.models.trie.trie import pack_codes

CODEBOOK_SIZE = 256
QUANTISED_LEVELS = 3
# Exponent and shift of each level's Zipf law. They are fitted to the default recipe's IDs of the 12,101 items of Amazon
# Beauty. Those have 6,027 and 11,286 nodes at depths 2 and 3, and widest nodes of 214, 103, 27 and 13. Synthetic IDs of
# the same size have 6,713 and 11,265 nodes, and widest nodes of 256, 112, 27 and 13.
ZIPF_BY_LEVEL = ((0.69, 3.0), (1.2, 2.0), (1.26, 2.0))
HASH = np.uint64(0x9E3779B97F4A7C15)


def synthetic_codes(num_items: int, *, seed: int) -> NDArray[np.int64]:
    """Draws semantic IDs. The codes of each level follow a Zipf law, in another order below every prefix.

    If more than V items have the same quantised codes, the last quantised code of the items beyond V is drawn again.

    Args:
        num_items: N.
        seed: Seed of the draws.

    Returns:
        Unique codes of shape (N, L). The last level is the collision level.
    """
    rng = np.random.default_rng(seed)
    prefix_N = np.zeros(num_items, dtype=np.int64)
    codes_NL = np.empty((num_items, QUANTISED_LEVELS), dtype=np.int64)
    for level, (exponent, shift) in enumerate(ZIPF_BY_LEVEL):
        weights_V = (np.arange(CODEBOOK_SIZE) + shift) ** -exponent
        rank_N = np.searchsorted(np.cumsum(weights_V / weights_V.sum()), rng.random(num_items)).clip(
            max=CODEBOOK_SIZE - 1
        )
        codes_NL[:, level] = _shuffled(rank_N, prefix_N + 1)
        prefix_N = prefix_N * CODEBOOK_SIZE + codes_NL[:, level]
    while len(crowded := _beyond_capacity(codes_NL)):
        codes_NL[crowded, -1] = rng.integers(0, CODEBOOK_SIZE, len(crowded))
    return append_collision_codes(codes_NL, codebook_size=CODEBOOK_SIZE)


def _shuffled(rank_N: NDArray[np.int64], prefix_N: NDArray[np.int64]) -> NDArray[np.int64]:
    """Maps ranks to codes by a permutation for each prefix: an odd factor permutes modulo a power of two."""
    hashed_N = prefix_N.astype(np.uint64) * HASH
    factor_N, offset_N = hashed_N >> np.uint64(17) | np.uint64(1), hashed_N >> np.uint64(40)
    codes_N = (rank_N.astype(np.uint64) * factor_N + offset_N) % np.uint64(CODEBOOK_SIZE)
    return np.asarray(codes_N, dtype=np.int64)


def _beyond_capacity(codes_NL: NDArray[np.int64]) -> NDArray[np.int64]:
    keys_N = pack_codes(codes_NL, CODEBOOK_SIZE)
    order_N = np.argsort(keys_N)
    sorted_N = keys_N[order_N]
    # In sorted order, an item is beyond the capacity if the item V positions before it has the same codes.
    too_many = np.flatnonzero(sorted_N[CODEBOOK_SIZE:] == sorted_N[:-CODEBOOK_SIZE])
    return np.asarray(order_N[too_many + CODEBOOK_SIZE])
