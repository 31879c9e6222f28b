"""Eligibility: the items that pass a filter, as arrays that the search reads.

The place of an item is a number: its leaf in the trie, 0..N-1, or an added place, N or above, if the item was added
after the trie was built. A node of the trie is closed if no leaf below it is eligible. The exclusions of a request
close more nodes (see `models.search.exclusion`). This module does not need PyTorch.

Shapes: N leaves, L levels, S added places, M places or leaves that a method gets, I inner depths (1 to L-1), X items.
"""

from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rqrec.models.array_types import BoolArray, Int32Array, IntArray
from rqrec.models.trie.arrays import with_margin
from rqrec.models.trie.trie import SemanticIdTrie
from rqrec.models.vector_index import VectorIndex

NOBODY: BoolArray = np.empty(0, dtype=np.bool_)


class Candidates(NamedTuple):
    """The new items that may be recommended. A new item is one that the model did not learn to generate.

    They are given by their row numbers in `models.search.new.new_item_index.NewItemIndex`.

    Attributes:
        rows_X: The row numbers of the items whose relevance is computed for every user, int64.
        clusters: A nearest-neighbour index of further new items. Their relevance is computed only if they are near the
            user's query. None if there are no further new items.
    """

    rows_X: IntArray
    clusters: VectorIndex | None


class Popular(NamedTuple):
    """Popular items, the most popular first.

    Attributes:
        places_X: The place of each item, int64: its leaf in the trie, or a number after all leaves for an item that was
            added after the trie was built.
        log_shares_X: The natural logarithm of each item's share of all choices in the training data, float32.
    """

    places_X: IntArray
    log_shares_X: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Eligibility:
    """The eligible items, which are the items that pass a filter.

    An item is given by its place: its leaf in the trie, 0..N-1, or an added place, N to N + S - 1, if the item was
    added after the trie was built.

    Attributes:
        trie: The catalogue's trie, with N leaves.
        mask_N: Whether each leaf is eligible, bool.
        num_leaves: The number of eligible leaves.
        penalties: One array for each depth 1..L, float32: 0 for a node with an eligible leaf below it, -inf for any
            other node. Each array ends with a margin of -inf (see `models.trie.arrays.TrieArrays`).
        eligible_below: The number of eligible leaves below each node: first the nodes of depth 1, then those of depth
            2, and so on to depth L-1; int32.
        first_inner_I: The index in `eligible_below` at which each depth 1..L-1 begins, int32.
        added_S: Whether each added place is eligible, bool.
        num_added: The number of eligible added places.
        candidates: The eligible new items; None if they are not computed. `Recommender.prepared` computes them.
        popular: The most popular eligible items; None if they are not computed. `Recommender.prepared` computes them.

    Example:
        Three items. Leaf 1 (0-3) and leaf 2 (1-0) are not eligible, so node 1 of depth 1 is closed. One of two added
        places is eligible.

        >>> trie = SemanticIdTrie.build(np.array([[0, 1], [0, 3], [1, 0]]), codebook_size=4)
        >>> one = Eligibility.from_mask(trie, np.array([True, False, False]), np.array([True, False]))
        >>> [penalties.tolist() for penalties in one.penalties]  # the last two of each are the margin
        [[0.0, -inf, -inf, -inf], [0.0, -inf, -inf, -inf, -inf]]
        >>> one.eligible_below.tolist(), one.first_inner_I.tolist()
        ([1, 0], [0])
        >>> one.count, one.allows(np.array([0, 2, 3, 4])).tolist()  # places 3 and 4 are the added ones
        (2, [True, False, True, False])
    """

    trie: SemanticIdTrie
    mask_N: BoolArray
    num_leaves: int
    penalties: tuple[NDArray[np.float32], ...]
    eligible_below: Int32Array
    first_inner_I: Int32Array
    added_S: BoolArray = field(default_factory=lambda: NOBODY)
    num_added: int = 0
    candidates: Candidates | None = None
    popular: Popular | None = None

    @classmethod
    def everything(cls, trie: SemanticIdTrie) -> "Eligibility":
        """Returns the eligibility in which every leaf of a trie is eligible. It has no items that were added later."""
        return cls.from_mask(trie, np.ones(trie.num_leaves, dtype=np.bool_))

    @classmethod
    def from_mask(cls, trie: SemanticIdTrie, mask_N: BoolArray, added_S: BoolArray = NOBODY) -> "Eligibility":
        """Makes an eligibility from masks.

        Args:
            trie: The catalogue's trie, with N leaves.
            mask_N: Whether each leaf is eligible, bool.
            added_S: Whether each item that was added after the trie was built is eligible, bool. The first one has the
                place N.

        Raises:
            ValueError: If the number of entries in `mask_N` is not the number of leaves.
        """
        if mask_N.shape != (trie.num_leaves,):
            raise ValueError(
                f"an eligibility mask needs one entry per leaf, shape ({trie.num_leaves},), got {mask_N.shape}: "
                "make the mask from the same trie"
            )
        eligible_before = np.zeros(trie.num_leaves + 1, dtype=np.int32)
        np.cumsum(mask_N, out=eligible_before[1:])
        inner = [np.diff(eligible_before[start]) for start in trie.leaf_start[1:]]
        penalties = tuple(
            with_margin(np.where(counts > 0, np.float32(0), np.float32(-np.inf)), width, -np.inf)
            for counts, width in zip([*inner, mask_N], trie.max_children, strict=True)
        )
        first_inner_I = np.cumsum([0, *map(len, inner)])[:-1].astype(np.int32)
        below = np.concatenate([np.empty(0, np.int32), *inner])
        leaves = cls(trie, mask_N, int(eligible_before[-1]), penalties, below, first_inner_I)
        return leaves.with_added(added_S, int(np.count_nonzero(added_S)))

    @classmethod
    def only(cls, trie: SemanticIdTrie, places_M: IntArray, num_places: int) -> "Eligibility":
        """Returns the eligibility in which only some items are eligible.

        Args:
            trie: The catalogue's trie, with N leaves.
            places_M: The places of these items, int64.
            num_places: The number of places: N, and the number of items that were added after the trie was built.
        """
        mask_P = np.zeros(num_places, dtype=np.bool_)
        mask_P[places_M] = True
        return cls.from_mask(trie, mask_P[: trie.num_leaves], mask_P[trie.num_leaves :])

    def with_changes(self, leaves_M: IntArray, mask_M: BoolArray) -> "Eligibility":
        """Returns a copy in which some leaves have become eligible or not eligible. This eligibility does not change.

        Only the array entries that differ are computed again. `candidates` and `popular` are None in the copy, because
        they may be out of date. If no leaf differs, this eligibility itself is returned.

        Args:
            leaves_M: Distinct leaves, int64.
            mask_M: Whether each of these leaves is eligible in the copy, bool.
        """
        differs_M = self.mask_N[leaves_M] != mask_M
        leaves_M, mask_M = leaves_M[differs_M], mask_M[differs_M]
        if not len(leaves_M):
            return self
        mask_N, below = self.mask_N.copy(), self.eligible_below.copy()
        mask_N[leaves_M] = mask_M
        change_M = np.where(mask_M, 1, -1).astype(np.int32)
        *inner, last = (penalties.copy() for penalties in self.penalties)
        last[leaves_M] = np.where(mask_M, np.float32(0), np.float32(-np.inf))
        for depth, (first, penalties) in enumerate(zip(self.first_inner_I.tolist(), inner, strict=True), start=1):
            nodes_M = np.searchsorted(self.trie.leaf_start[depth], leaves_M, side="right") - 1
            np.add.at(below, first + nodes_M, change_M)
            penalties[nodes_M] = np.where(below[first + nodes_M] > 0, np.float32(0), np.float32(-np.inf))
        num_leaves = self.num_leaves + int(change_M.sum())
        return replace(
            self,
            mask_N=mask_N,
            num_leaves=num_leaves,
            penalties=(*inner, last),
            eligible_below=below,
            candidates=None,
            popular=None,
        )

    def with_added(self, added_S: BoolArray, num_added: int) -> "Eligibility":
        """Makes a copy with another mask of the items that were added after the trie was built.

        This eligibility does not change. `candidates` and `popular` are None in the copy, because they may be out of
        date.

        Args:
            added_S: Whether each of these items is eligible, bool. The first of these items has the place N, which is
                the number of leaves.
            num_added: The number of true entries in `added_S`.
        """
        return replace(self, added_S=added_S, num_added=num_added, candidates=None, popular=None)

    @property
    def count(self) -> int:
        """The number of eligible items."""
        return self.num_leaves + self.num_added

    @property
    def nbytes(self) -> int:
        """The memory of this eligibility's large arrays, in bytes, without `candidates`, `popular` and the trie."""
        arrays = (self.mask_N, self.added_S, self.eligible_below, *self.penalties)
        return sum(array.nbytes for array in arrays)

    def allows(self, places_M: IntArray) -> BoolArray:
        """Returns whether each of M items passes the filter, bool. An item is given by its place (item number)."""
        if not len(self.added_S):
            return self.mask_N[places_M]
        is_added_M = places_M >= len(self.mask_N)
        allowed_M = self.mask_N[np.where(is_added_M, 0, places_M)]
        allowed_M[is_added_M] = self.added_S[places_M[is_added_M] - len(self.mask_N)]
        return allowed_M
