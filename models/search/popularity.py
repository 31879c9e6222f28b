"""Popularity: finds the items that users chose most often in the training data.

These items are recommended if a request has no history item that the model can read. This module does not need PyTorch.

Shapes: N leaves, S items that were added after the trie was built.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rqrec.models.array_types import BoolArray, FloatArray, Int32Array, IntArray
from rqrec.models.search.eligibility import Eligibility, Popular
from rqrec.models.trie.trie import NO_LEAF

FIRST_CHUNK = 256  # items that are checked first; every further chunk is twice as long
FEW = 16  # one in so many leaves, or fewer, is eligible
NOTHING: IntArray = np.empty(0, dtype=np.int64)


@dataclass(frozen=True, eq=False)
class Popularity:
    """How often users chose each item in the training data, to find the most popular items.

    An item of the bundle keeps its popularity when its attributes are overwritten by a live write.

    Attributes:
        order_N: The leaves in order of popularity, the most popular first, int64.
        log_share_N: The natural logarithm of each leaf's share of all choices, after adding one choice to every leaf.
        log_share_of_none: The natural logarithm of the share of an item that nobody chose, after adding one choice.
        place_of_leaf_N: For the bundle's item of each leaf, its present place (item number), int32: the leaf itself; or
            N or above, if a live write moved the item to a place after all leaves; or -1 if the item was deleted. A
            write moves an item if its semantic ID changes or if nobody chose the item in the training data.
        is_foreign_S: One entry for each live write of an item, oldest first, bool: whether the item_id is not in the
            bundle. Nobody chose such an item in the training data. Write s gives its item the place N + s, unless the
            place of the item remains its leaf.
    """

    order_N: IntArray
    log_share_N: FloatArray
    log_share_of_none: float
    place_of_leaf_N: Int32Array
    is_foreign_S: BoolArray

    @classmethod
    def from_counts(cls, popularity_N: NDArray[np.integer]) -> "Popularity":
        """Makes the popularity from counts: how often users chose the item of each leaf in the training data."""
        total = (popularity_N + 1).sum()
        return cls(
            np.argsort(-popularity_N, kind="stable"),
            np.log((popularity_N + 1) / total).astype(np.float32),
            -math.log(total),
            np.arange(len(popularity_N), dtype=np.int32),
            np.empty(0, dtype=np.bool_),
        )

    def best(self, eligibility: Eligibility, k: int, excluded: IntArray = NOTHING) -> Popular:
        """Finds the most popular eligible items.

        Args:
            eligibility: The items that pass the filter.
            k: How many items to find, at least 1.
            excluded: The places (item numbers) of items that must not be returned, int64.

        Returns:
            The k most popular items, or fewer if fewer are eligible and not excluded.
        """
        kept = eligibility.popular
        if kept is None or len(kept.places_X) < min(k + len(excluded), eligibility.count):
            return self._find(eligibility, k, excluded)
        is_good = ~np.isin(kept.places_X, excluded)
        return Popular(kept.places_X[is_good][:k], kept.log_shares_X[is_good][:k])

    def _find(self, eligibility: Eligibility, k: int, excluded: IntArray) -> Popular:
        """Checks the items in order of popularity until k are found. Items that the bundle does not know come last."""
        num_leaves, size, begin, count = len(self.order_N), FIRST_CHUNK, 0, 0
        if not eligibility.num_added and eligibility.num_leaves * FEW < num_leaves:
            return self._find_few(eligibility, k, excluded)
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

    def _find_few(self, eligibility: Eligibility, k: int, excluded: IntArray) -> Popular:
        """Finds the same as `_find` if few items are eligible, all at leaves, in one pass over all leaves."""
        leaves = self.order_N[eligibility.mask_N[self.order_N]]
        leaves = leaves[~np.isin(leaves, excluded)][:k]
        return Popular(leaves, self.log_share_N[leaves])
