"""Which leaves a search may return: a filter's leaf mask made ready once, and a request's own exclusions.

Both act inside the search. A node is closed when none of the leaves below it is eligible; a request closes further
nodes by excluding the last eligible leaves below them (`models.exclusion`). Needs no torch.

Shapes: N leaves, L levels, M leaves asked about, I inner depths (1 to L-1).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.trie import Int32Array, IntArray, SemanticIdTrie
from models.trie_arrays import with_margin


@dataclass(frozen=True, eq=False)
class Eligibility:
    """The leaves of a trie that pass a filter.

    Attributes:
        trie: The catalogue.
        eligible_before: How many of the leaves before each position are eligible, int32, shape (N + 1,).
        penalties: For each depth 1..L, 0 for a node with an eligible leaf and -inf for a closed one, float32, with a
            margin as in `models.trie_arrays.TrieArrays`.
        eligible_below: How many eligible leaves stand below each node of depth 1, then of depth 2, to depth L-1, int32.
        first_inner_I: Where each of those depths begins in `eligible_below`, int32.
    """

    trie: SemanticIdTrie
    eligible_before: Int32Array
    penalties: tuple[NDArray[np.float32], ...]
    eligible_below: Int32Array
    first_inner_I: Int32Array

    @classmethod
    def everything(cls, trie: SemanticIdTrie) -> "Eligibility":
        """Every leaf."""
        return cls.of(trie, np.ones(trie.num_leaves, dtype=np.bool_))

    @classmethod
    def of(cls, trie: SemanticIdTrie, mask_N: NDArray[np.bool_]) -> "Eligibility":
        """The leaves at which the mask is true.

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
        return cls(trie, eligible_before, penalties, np.concatenate([np.empty(0, np.int32), *inner]), first_inner_I)

    @property
    def count(self) -> int:
        """How many leaves are eligible."""
        return int(self.eligible_before[-1])

    @property
    def nbytes(self) -> int:
        """Memory that the arrays take, in bytes."""
        arrays = (self.eligible_before, self.eligible_below, *self.penalties)
        return sum(array.nbytes for array in arrays)

    def allows(self, leaves_M: IntArray) -> NDArray[np.bool_]:
        """Whether each leaf is eligible."""
        return self.eligible_before[leaves_M + 1] > self.eligible_before[leaves_M]
