"""Which leaves a search may return: a filter's leaf mask made ready once, and a request's own exclusions.

Both act inside the search. A node is closed when none of the leaves below it is eligible; a request closes further
nodes by excluding the last eligible leaves below them. Needs no torch.

Shapes: N leaves, L levels, M closed nodes, F children of the widest node at a depth.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from models.trie import Int32Array, IntArray, SemanticIdTrie
from models.trie_arrays import with_margin

Array = TypeVar("Array")


class ClosedNodes(NamedTuple, Generic[Array]):
    """The nodes of one depth that a batch's exclusions close; at least one entry, and parent -1 closes nothing.

    Attributes:
        row_M: The request's place in the batch, int32.
        parent_M1: The node's parent at the depth above, int32, shape (M, 1).
        index_M: Where the node stands among the batch's flattened candidates if the request's first beam holds its
            parent, int32.
    """

    row_M: Array
    parent_M1: Array
    index_M: Array


NOTHING_CLOSED = ClosedNodes(np.array([0], np.int32), np.array([[-1]], np.int32), np.array([0], np.int32))


@dataclass(frozen=True, eq=False)
class Eligibility:
    """The leaves of a trie that pass a filter.

    Attributes:
        trie: The catalogue.
        eligible_before: How many of the leaves before each position are eligible, int32, shape (N + 1,).
        penalties: For each depth 1..L, 0 for a node with an eligible leaf and -inf for a closed one, float32, with a
            margin as in `models.trie_arrays.TrieArrays`.
        eligible_below: How many eligible leaves stand below each node of depth 1, then of depth 2, to depth L-1, int32.
        first_inner: Where each of those depths begins in `eligible_below`.
    """

    trie: SemanticIdTrie
    eligible_before: Int32Array
    penalties: tuple[NDArray[np.float32], ...]
    eligible_below: Int32Array
    first_inner: Int32Array

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
        first_inner = np.cumsum([0, *map(len, inner)]).astype(np.int32)
        return cls(trie, eligible_before, penalties, np.concatenate([np.empty(0, np.int32), *inner]), first_inner)

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

    def closed_nodes(self, excluded: Sequence[IntArray], *, beam_width: int) -> tuple[ClosedNodes[Int32Array], ...]:
        """The nodes that each request's exclusions leave without an eligible leaf, for each depth 1..L.

        At depth L those are the excluded leaves themselves.

        Args:
            excluded: For each request of a batch, distinct leaf positions in ascending order.
            beam_width: K of the search.
        """
        row_M = np.repeat(np.arange(len(excluded), dtype=np.int32), [len(leaves) for leaves in excluded])
        leaf_M = np.concatenate([np.empty(0, dtype=np.int64), *excluded])
        allowed_M = self.allows(leaf_M)
        if not allowed_M.all():
            row_M, leaf_M = row_M[allowed_M], leaf_M[allowed_M]
        levels, count = self.trie.num_levels, len(leaf_M)
        if not count:
            return (NOTHING_CLOSED,) * levels
        node_XM = np.empty((levels + 1, count), dtype=np.int32)  # the excluded leaves' nodes at depths 0..L
        node_XM[:levels], node_XM[levels] = self.trie.paths_LN[:, leaf_M], leaf_M
        # Leaves below one node stand side by side. So a node with c eligible leaves is closed if the c-th one from the
        # first of them is below it too.
        inner_XM = node_XM[1:levels]
        last_XM = self.eligible_below[inner_XM + self.first_inner[:-1, None]]
        last_XM += np.arange(-1, count - 1, dtype=np.int32)
        is_closed_XM = last_XM < count
        np.minimum(last_XM, count - 1, out=last_XM)
        is_closed_XM &= row_M[last_XM] == row_M
        is_closed_XM &= inner_XM[np.arange(levels - 1)[:, None], last_XM] == inner_XM
        return tuple(
            self._closed(row_M, node_XM[depth], node_XM[depth + 1], depth, beam_width, is_closed_M)
            for depth, is_closed_M in enumerate([*is_closed_XM, None])
        )

    def _closed(
        self,
        row_M: Int32Array,
        parent_M: Int32Array,
        node_M: Int32Array,
        depth: int,
        beam_width: int,
        is_closed_M: NDArray[np.bool_] | None,
    ) -> ClosedNodes[Int32Array]:
        if is_closed_M is not None:
            row_M, parent_M, node_M = row_M[is_closed_M], parent_M[is_closed_M], node_M[is_closed_M]
        if not len(node_M):
            return NOTHING_CLOSED
        width = self.trie.max_children[depth] * (1 if depth == 0 else beam_width)
        slot_M = node_M - self.trie.child_start[depth][parent_M]
        return ClosedNodes(row_M, parent_M[:, None], row_M * np.int32(width) + slot_M)


def closed_inputs(by_depth: Sequence[ClosedNodes[Array]]) -> dict[str, Array]:
    """The closed nodes by the names of the search graph's inputs, in their order."""
    return {
        f"closed_{depth}_{name}": array
        for depth, closed in enumerate(by_depth)
        for name, array in zip(closed._fields, closed, strict=True)
    }
