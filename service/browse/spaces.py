"""The two spaces in which items are compared: the learnt vectors, and the contents.

Shapes: N leaves, S written rows, R rows of the bundle, D width of learnt vectors, P content width, K found items.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rqrec.models.array_types import BoolArray, IntArray
from rqrec.models.search.eligibility import Eligibility
from rqrec.service.browse.split_index import SplitIndex
from rqrec.service.catalogue.item_table import NO_ROW
from rqrec.service.catalogue.snapshot import Snapshot


class Found(NamedTuple):
    """Items that were found, best first.

    Attributes:
        places_K: The place of each item, its index in the catalogue, int64.
        scores_K: The cosine of each item and the query, float64.
    """

    places_K: IntArray
    scores_K: NDArray[np.float64]


class LearnedVectors:
    """Compares items by the vectors that the retriever learnt, or that were computed for later items.

    Args:
        published: The state of the published model.
    """

    def __init__(self, published: Snapshot) -> None:
        vectors_NW, width = published.item_vectors.rows, published.compared_width
        self._index = SplitIndex(lambda leaves: vectors_NW[leaves, :width], len(vectors_NW), width)

    def vector(self, snapshot: Snapshot, place: int) -> NDArray[np.float32]:
        """Returns the vector of the item at a place, shape (D,).

        Args:
            snapshot: The state of the catalogue.
            place: The place of an item.
        """
        vector_D: NDArray[np.float32] = snapshot.item_vectors.rows[place, : snapshot.compared_width]
        return vector_D

    def nearest(
        self,
        snapshot: Snapshot,
        query_D: NDArray[np.float32],
        count: int,
        *,
        allowed_N: BoolArray | None,
        allowed_S: BoolArray,
    ) -> Found:
        """Finds the items whose vectors have the largest cosines to a query.

        Args:
            snapshot: The state of the catalogue.
            query_D: The query.
            count: K, the number of items to find.
            allowed_N: Whether the item at each leaf may be found; None if all may.
            allowed_S: Whether the item at each added place may be found.
        """
        num_leaves, vectors = snapshot.trie.num_leaves, snapshot.item_vectors
        found = self._index.nearest(
            vectors, query_D, count, allowed_N=allowed_N, allowed_S=allowed_S, first_row=num_leaves
        )
        return Found(*found)


class Contents:
    """Compares items by their contents: what the model knows of their attributes and texts.

    An item that was written again has the content of its last write.

    Args:
        published: The state of the published model.
        contents_RP: The content vectors of the bundle's items, in the order of the bundle.
    """

    def __init__(self, published: Snapshot, contents_RP: NDArray[np.floating]) -> None:
        self._contents_RP, self._row_of_leaf_N = contents_RP, published.trie.row_of_leaf_N
        self._index = SplitIndex(self._of_leaves, published.trie.num_leaves, contents_RP.shape[1])

    def _of_leaves(self, leaves_X: IntArray) -> NDArray[np.floating]:
        contents_XP: NDArray[np.floating] = self._contents_RP[self._row_of_leaf_N[leaves_X]]
        return contents_XP

    def vector(self, snapshot: Snapshot, place: int) -> NDArray[np.floating]:
        """Returns the content vector of the item at a place, shape (P,).

        Args:
            snapshot: The state of the catalogue.
            place: The place of an item.
        """
        (row,) = snapshot.table.rows_of(np.array([place]))
        content_P: NDArray[np.floating] = (
            self._of_leaves(np.array([place]))[0] if row == NO_ROW else snapshot.row_contents.rows[row]
        )
        return content_P

    def nearest(self, snapshot: Snapshot, query_P: NDArray[np.floating], count: int, eligible: Eligibility) -> Found:
        """Finds the eligible items whose contents have the largest cosines to a query.

        Args:
            snapshot: The state of the catalogue.
            query_P: The query.
            count: K, the number of items to find.
            eligible: The items that may be found.
        """
        rows = allowed_rows(snapshot, eligible)
        found = self._index.nearest(
            snapshot.row_contents, query_P, count, allowed_N=rows.unwritten_N, allowed_S=rows.allowed_S
        )
        return Found(rows.places(found.rows_K), found.cosines_K)


class AllowedRows(NamedTuple):
    """Which contents are those of eligible items: of leaves with the content of the bundle, and of written rows.

    Attributes:
        unwritten_N: Whether the bundle's content of each leaf is that of an eligible item; None if all are.
        allowed_S: Whether each written row has the content of an eligible item.
        leaf_of_row_S: For each written row whose item stands at a leaf, this leaf; else a number below 0.
    """

    unwritten_N: BoolArray | None
    allowed_S: BoolArray
    leaf_of_row_S: IntArray

    def places(self, numbers_X: IntArray) -> IntArray:
        """Returns the places of items, given by a leaf (below N) or by N plus a written row."""
        num_rows = len(self.leaf_of_row_S)
        if self.unwritten_N is None or not num_rows:
            return numbers_X
        row_X = np.maximum(numbers_X - len(self.unwritten_N), 0)
        leaf_X = np.where(numbers_X >= len(self.unwritten_N), self.leaf_of_row_S[row_X], -1)
        return np.where(leaf_X >= 0, leaf_X, numbers_X)


def allowed_rows(snapshot: Snapshot, eligible: Eligibility) -> AllowedRows:
    """Finds out which contents belong to eligible items.

    Args:
        snapshot: The state of the catalogue.
        eligible: The eligible items of this state.
    """
    row_of_leaf_N, num_rows = snapshot.table.row_of_leaf_N, len(snapshot.table.rows)
    leaf_of_row_S = np.full(num_rows, -1, dtype=np.int64)
    if not num_rows:
        mask_N = None if eligible.num_leaves == len(eligible.mask_N) else eligible.mask_N
        return AllowedRows(mask_N, np.zeros(0, dtype=np.bool_), leaf_of_row_S)
    leaves = np.flatnonzero(row_of_leaf_N != NO_ROW)
    leaf_of_row_S[row_of_leaf_N[leaves]] = leaves
    allowed_S = eligible.added_S.copy()
    allowed_S[row_of_leaf_N[leaves]] = eligible.mask_N[leaves]
    unwritten_N = eligible.mask_N.copy()
    unwritten_N[leaves] = False
    return AllowedRows(unwritten_N, allowed_S, leaf_of_row_S)
