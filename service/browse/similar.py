"""Finds the items that are most like one item: by learnt vector, by content, or by the prefix of its semantic ID.

Shapes: N leaves, S written rows, L levels, K found items.
"""

from typing import Literal

import numpy as np

from rqrec.models.search.eligibility import Eligibility
from rqrec.service.browse.spaces import Contents, Found, LearnedVectors
from rqrec.service.catalogue.snapshot import Snapshot

By = Literal["vector", "content", "prefix"]


class SimilarItems:
    """Finds the items that are most like one item, in any state of one model's catalogue.

    Args:
        vectors: The learnt vectors of the catalogue.
        contents: The contents of the catalogue.
    """

    def __init__(self, vectors: LearnedVectors, contents: Contents) -> None:
        self._vectors, self._contents = vectors, contents

    def find(self, snapshot: Snapshot, place: int, by: By, k: int, eligible: Eligibility) -> Found:
        """Finds the eligible items that are most like one item. The item itself is left out.

        Args:
            snapshot: The state of the catalogue.
            place: The place of the item.
            by: What is compared: the learnt vectors, the contents, or the semantic IDs. Of the last, the longest common
                prefix counts first, and then the learnt vectors.
            k: The number of items to find, less than MOST_NEAREST.
            eligible: The items that may be found.

        Returns:
            The `k` most similar items, or fewer if fewer are eligible, with their cosines.
        """
        if by == "prefix":
            return self._by_prefix(snapshot, place, k, eligible)
        # One more, because the item itself may be found.
        if by == "content":
            query_P = self._contents.vector(snapshot, place)
            return _without(self._contents.nearest(snapshot, query_P, k + 1, eligible), place, k)
        query_D = self._vectors.vector(snapshot, place)
        mask_N = None if eligible.num_leaves == len(eligible.mask_N) else eligible.mask_N
        found = self._vectors.nearest(snapshot, query_D, k + 1, allowed_N=mask_N, allowed_S=eligible.added_S)
        return _without(found, place, k)

    def _by_prefix(self, snapshot: Snapshot, place: int, k: int, eligible: Eligibility) -> Found:
        """Goes from the longest prefix to the empty one. Items below a longer prefix are left out at a shorter one."""
        table, query_D = snapshot.table, self._vectors.vector(snapshot, place)
        (codes_L,) = table.codes_of(np.array([place]))
        left_N, left_S = eligible.mask_N.copy(), eligible.added_S.copy()
        if place < len(left_N):
            left_N[place] = False
        else:
            left_S[place - len(left_N)] = False
        parts, missing = [Found(np.empty(0, dtype=np.int64), np.empty(0))], k
        for length in reversed(range(len(codes_L))):
            first, last = table.trie.leaf_range(codes_L[:length].tolist())
            below_N = np.zeros(len(left_N), dtype=np.bool_)
            below_N[first:last], left_N[first:last] = left_N[first:last], False
            below_S = left_S & (table.row_codes.rows[:, :length] == codes_L[:length]).all(axis=1)
            left_S &= ~below_S
            found = self._vectors.nearest(snapshot, query_D, missing, allowed_N=below_N, allowed_S=below_S)
            parts.append(found)
            missing -= len(found.places_K)
            if not missing:
                break
        return Found(*map(np.concatenate, zip(*parts, strict=True)))


def _without(found: Found, place: int, k: int) -> Found:
    """The first items that were found, without the one at a place."""
    is_other_K = found.places_K != place
    return Found(found.places_K[is_other_K][:k], found.scores_K[is_other_K][:k])
