"""Which items a search may return: a filter's mask made ready once, and a request's own exclusions.

Items have places: the leaves of the trie come first, and after them the items that were added since it was built
(`models.search.new_items`). For leaves, both act inside the search. A node is closed when none of the leaves below it
is eligible; a request closes further nodes by excluding the last eligible leaves below them
(`models.search.exclusion`). Needs no torch.

Shapes: N leaves, L levels, S added places, M places asked about or changed, I inner depths (1 to L-1).
"""

from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rqrec.models.array_types import BoolArray, Int32Array, IntArray
from rqrec.models.search.vector_index import VectorIndex
from rqrec.models.trie.arrays import with_margin
from rqrec.models.trie.trie import SemanticIdTrie

NOBODY: BoolArray = np.empty(0, dtype=np.bool_)


class Candidates(NamedTuple):
    """New items that are eligible, by their rows in `models.search.new_items.NewItems`.

    Attributes:
        rows_X: Those that are rated for every user.
        clusters: The others, by which the nearest ones are found; None where there are none.
    """

    rows_X: IntArray
    clusters: VectorIndex | None


class Popular(NamedTuple):
    """Places, the most often chosen first, and the logarithms of their shares of all choices."""

    places_X: IntArray
    log_shares_X: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Eligibility:
    """The places that pass a filter.

    Attributes:
        trie: The catalogue.
        mask_N: Which leaves are eligible.
        num_leaves: How many they are.
        penalties: For each depth 1..L, 0 for a node with an eligible leaf and -inf for a closed one, float32, with a
            margin as in `models.trie.arrays.TrieArrays`.
        eligible_below: How many eligible leaves stand below each node of depth 1, then of depth 2, to depth L-1, int32.
        first_inner_I: Where each of those depths begins in `eligible_below`, int32.
        added_S: Which of the added places are eligible.
        num_added: How many they are.
        candidates: The new items among them, and
        popular: the first of them by popularity, where `Recommender.prepared` has looked them up.
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
        """Every leaf."""
        return cls.from_mask(trie, np.ones(trie.num_leaves, dtype=np.bool_))

    @classmethod
    def from_mask(cls, trie: SemanticIdTrie, mask_N: BoolArray, added_S: BoolArray = NOBODY) -> "Eligibility":
        """The leaves at which the mask is true, and the added places at which the other one is.

        Raises:
            ValueError: If the mask has not one entry a leaf.
        """
        if mask_N.shape != (trie.num_leaves,):
            raise ValueError(f"an eligibility mask has one entry a leaf ({trie.num_leaves}), got {mask_N.shape}")
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

    def with_changes(self, leaves_M: IntArray, mask_M: BoolArray) -> "Eligibility":
        """The same with other leaves: arrays are copied and set where they change, nothing is worked out anew.

        Args:
            leaves_M: Distinct leaves.
            mask_M: Whether each is eligible from now on.
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
        """The same with other added places, and how many of them are eligible."""
        return replace(self, added_S=added_S, num_added=num_added, candidates=None, popular=None)

    @property
    def count(self) -> int:
        """How many places are eligible."""
        return self.num_leaves + self.num_added

    @property
    def nbytes(self) -> int:
        """Memory that the arrays take, in bytes."""
        arrays = (self.mask_N, self.added_S, self.eligible_below, *self.penalties)
        return sum(array.nbytes for array in arrays)

    def allows(self, places_M: IntArray) -> BoolArray:
        """Whether each place is eligible."""
        if not len(self.added_S):
            return self.mask_N[places_M]
        is_added_M = places_M >= len(self.mask_N)
        allowed_M = self.mask_N[np.where(is_added_M, 0, places_M)]
        allowed_M[is_added_M] = self.added_S[places_M[is_added_M] - len(self.mask_N)]
        return allowed_M
