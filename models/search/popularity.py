"""The items by how often training saw them, for users of whom nothing is known. Needs no torch.

Shapes: N leaves, S added places, k items asked for.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rqrec.models.array_types import BoolArray, FloatArray, Int32Array, IntArray
from rqrec.models.search.eligibility import Eligibility, Popular
from rqrec.models.trie.trie import NO_LEAF

FIRST_LOOK = 256  # of the most popular items; each further look is twice as long
NOTHING: IntArray = np.empty(0, dtype=np.int64)


@dataclass(frozen=True, eq=False)
class Popularity:
    """What was counted in training; an item of the bundle that is written anew keeps its count.

    Attributes:
        order_N: Leaves, the most often chosen first.
        log_share_N: The natural logarithm of each leaf's share of all choices (smoothed).
        place_of_leaf_N: The place where each leaf's item of the bundle stands now, `NO_LEAF` for one that is gone.
        is_foreign_S: Which added places have items that the bundle does not know.
        log_share_of_none: The logarithm of such an item's share, which nobody chose (smoothed).
    """

    order_N: IntArray
    log_share_N: FloatArray
    log_share_of_none: float
    place_of_leaf_N: Int32Array
    is_foreign_S: BoolArray

    @classmethod
    def from_counts(cls, popularity_N: NDArray[np.integer]) -> "Popularity":
        """From how often each leaf was chosen."""
        total = (popularity_N + 1).sum()
        return cls(
            np.argsort(-popularity_N, kind="stable"),
            np.log((popularity_N + 1) / total).astype(np.float32),
            -math.log(total),
            np.arange(len(popularity_N), dtype=np.int32),
            np.empty(0, dtype=np.bool_),
        )

    def best(self, eligibility: Eligibility, k: int, excluded: IntArray = NOTHING) -> Popular:
        """The k most popular of the eligible items that are not excluded; fewer where there are fewer."""
        kept = eligibility.popular
        if kept is None or len(kept.places_X) < min(k + len(excluded), eligibility.count):
            return self._look(eligibility, k, excluded)
        is_good = ~np.isin(kept.places_X, excluded)
        return Popular(kept.places_X[is_good][:k], kept.log_shares_X[is_good][:k])

    def _look(self, eligibility: Eligibility, k: int, excluded: IntArray) -> Popular:
        """Goes through the items by popularity until there are k; the newer ones come last."""
        num_leaves, size, begin, count = len(self.order_N), FIRST_LOOK, 0, 0
        found, shares = list[IntArray](), list[FloatArray]()
        while begin < num_leaves and count < k:
            leaves = self.order_N[begin : begin + size]
            begin, size = begin + size, 2 * size
            places = self.place_of_leaf_N[leaves].astype(np.int64)
            leaves, places = leaves[places != NO_LEAF], places[places != NO_LEAF]
            is_good = eligibility.allows(places) & ~np.isin(places, excluded)
            found.append(places[is_good])
            shares.append(self.log_share_N[leaves[is_good]])
            count += len(found[-1])
        if count < k:
            added_S = eligibility.added_S
            newer = num_leaves + np.flatnonzero(added_S & self.is_foreign_S[: len(added_S)])
            found.append(newer[~np.isin(newer, excluded)])
            shares.append(np.full(len(found[-1]), self.log_share_of_none, dtype=np.float32))
        return Popular(np.concatenate(found)[:k], np.concatenate(shares)[:k])
