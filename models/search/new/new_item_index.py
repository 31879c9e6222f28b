"""The index of new items: finds the new items that have the highest relevance for a user's query.

Up to `COMPARED_ALL` new items are all compared with a query. If there are more, a query is compared with the items of
the nearest clusters and with the latest items, which may be in no cluster yet. This module does not need PyTorch.

Shapes: B users, M new items, X items that are compared with a query or returned, Y exclusions of all users, D width.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from rqrec.models.array_types import FloatArray, IntArray
from rqrec.models.growing_array import GrowingArray
from rqrec.models.search.eligibility import Candidates, Eligibility
from rqrec.models.vector_index import VectorIndex, unit_rows

COMPARED_ALL = 4096  # new items that are all compared with a query
COMPARED = 1024  # rows of clusters that are compared if there are more
UNINDEXED = 1024  # rows at the end that may not be in a cluster
SPARE = 64  # more rows than asked for, because an item may be deleted or not eligible


class ComparedItems(NamedTuple):
    """The new items that were compared with the query of each user, and their relevance.

    Attributes:
        rows: For each user, the row numbers of the compared items in the index, int64 of shape (X,).
        weighted: For each user, relevance_weight * relevance of each compared item, float32 of shape (X,).
        largest_B: For each user, the largest number in `weighted`; -inf if no item was compared.
    """

    rows: Sequence[IntArray]
    weighted: Sequence[FloatArray] | FloatArray
    largest_B: FloatArray

    def of_user(self, user: int) -> tuple[IntArray, FloatArray]:
        """Returns the new items that were compared with the query of one user of the batch, and their scores.

        Args:
            user: Index of the user in the batch.

        Returns:
            The rows of these items in the index of new items, and relevance_weight * relevance of each.
        """
        return self.rows[user], self.weighted[user]

    def of_users(self, users: Sequence[int] | slice) -> "ComparedItems":
        """Returns the compared items of some users only. The argument has the numbers of these users, in [0, B)."""
        if isinstance(users, slice):
            return ComparedItems(self.rows[users], self.weighted[users], self.largest_B[users])
        weighted = self.weighted
        chosen = weighted[users] if isinstance(weighted, np.ndarray) else [weighted[user] for user in users]
        return ComparedItems([self.rows[user] for user in users], chosen, self.largest_B[users])


class NewItemIndex:
    """The places and vectors of new items, one row per item. Finds the items with the highest relevance for a query.

    The place of an item is its leaf in the trie, or a number after all leaves for an item that was added later.

    Args:
        places: The place of the item of each row, int64.
        units: The vector of the item of each row, scaled to unit length, float32.
        clusters: A nearest-neighbour index of the first rows. The rows after these are compared with every query. None
            if all rows are compared with every query.
    """

    def __init__(
        self, places: GrowingArray[np.int64], units: GrowingArray[np.float32], clusters: VectorIndex | None = None
    ) -> None:
        self._places, self._units, self._clusters = _clustered(places, units, clusters)

    @classmethod
    def from_vectors(cls, places_M: IntArray, vectors_MD: FloatArray) -> "NewItemIndex":
        """Makes the index of some items.

        Args:
            places_M: The places (item numbers) of the items, int64.
            vectors_MD: The vectors of the items, float32. They need not have unit length.
        """
        return cls(GrowingArray(places_M), GrowingArray(unit_rows(vectors_MD)))

    @property
    def places(self) -> GrowingArray[np.int64]:
        """The place of the item of each row."""
        return self._places

    @property
    def units(self) -> GrowingArray[np.float32]:
        """The vector of the item of each row, at unit length. With clusters, the rows are sorted by cluster."""
        return self._units

    @property
    def clusters(self) -> VectorIndex | None:
        """The nearest-neighbour index of the rows; None if there are few rows."""
        return self._clusters

    def __len__(self) -> int:
        return len(self._places)

    def with_added(self, places_M: IntArray, vectors_MD: FloatArray) -> "NewItemIndex":
        """Makes an index of the items of this index and further new items. This index does not change.

        Args:
            places_M: The places (item numbers) of the added items, int64.
            vectors_MD: The vectors of the added items, float32. They need not have unit length.
        """
        units = self._units.extended(unit_rows(vectors_MD))
        return NewItemIndex(self._places.extended(places_M), units, self._clusters)

    def eligible(self, eligibility: Eligibility) -> Candidates:
        """Finds the new items that pass a filter.

        It looks at every new item. To be fast, callers keep the result for later requests with the same filter.
        """
        allowed_M = eligibility.allows(self._places.rows)
        if self._clusters is None or np.count_nonzero(allowed_M) <= COMPARED_ALL:
            return Candidates(np.flatnonzero(allowed_M), None)
        end = len(self._clusters)
        return Candidates(end + np.flatnonzero(allowed_M[end:]), self._clusters.among(allowed_M[:end]))

    def possible(self, eligibility: Eligibility) -> Candidates:
        """Returns all new items that pass a filter, and maybe others. For many new items it is faster than `eligible`.

        If the index has clusters, the result is all new items: the filter is not read. `NewItemIndex.best`, which is
        called later, leaves out the items that do not pass it. If the index has no clusters, the result is that of
        `eligible`.
        """
        if self._clusters is None:
            return self.eligible(eligibility)
        return Candidates(np.arange(len(self._clusters), len(self)), self._clusters)

    def compare(self, candidates: Candidates, queries_BD: FloatArray, *, count: int = COMPARED) -> ComparedItems:
        """Computes the relevance of new items for the query of each user.

        Args:
            candidates: The new items, from `eligible` or `possible`. Of items in `candidates.clusters`, only those in
                the clusters nearest to a query are compared with the query.
            queries_BD: The query of each of B users, as in `models.search.ranking.SearchOutput`.
            count: How many items of clusters to compare with each query.

        Returns:
            The compared items of each user, with their relevance.
        """
        rows_X, units_MD = candidates.rows_X, self._units.rows
        if candidates.clusters is None:  # one product for all users
            weighted_BX = queries_BD @ (units_MD if len(rows_X) == len(self) else units_MD[rows_X]).T
            return ComparedItems([rows_X] * len(queries_BD), weighted_BX, weighted_BX.max(axis=1, initial=-np.inf))
        rows = [np.concatenate([candidates.clusters.rows(query_D, count), rows_X]) for query_D in queries_BD]
        weighted = [units_MD.take(one_X, axis=0) @ query_D for one_X, query_D in zip(rows, queries_BD, strict=True)]
        largest_B = np.array([one_X.max(initial=-np.inf) for one_X in weighted], dtype=np.float32)
        return ComparedItems(rows, weighted, largest_B)

    def best_of_all(
        self, compared: ComparedItems, excluded_user_Y: IntArray, excluded_place_Y: IntArray, *, k: int
    ) -> tuple[IntArray, FloatArray]:
        """Finds the k items of the highest relevance for every user, if all users have the same eligible candidates.

        Args:
            compared: The compared items of at least one user, from `compare` with candidates whose `clusters` is None.
            excluded_user_Y: The number of the user of each exclusion, int64.
            excluded_place_Y: The place (item number) of the new item that must not be returned to this user, int64.
            k: How many items to find for each user.

        Returns:
            The places (item numbers) of the items, best first, int64, and relevance_weight * relevance of each item,
            float32. Both have the shape (B, X) with X <= k. Entries with -inf are excluded items, which come last.
        """
        places_X, weighted_BX = self._places.rows[compared.rows[0]], np.asarray(compared.weighted)
        if len(excluded_place_Y) and len(places_X):
            order_X = np.argsort(places_X)
            at_Y = np.searchsorted(places_X, excluded_place_Y, sorter=order_X)
            row_Y = order_X[np.minimum(at_Y, len(order_X) - 1)]
            is_compared_Y = places_X[row_Y] == excluded_place_Y
            weighted_BX = weighted_BX.copy()
            weighted_BX[excluded_user_Y[is_compared_Y], row_Y[is_compared_Y]] = -np.inf
        rows_B1 = np.arange(len(weighted_BX))[:, None]
        if (count := k + SPARE) >= len(places_X):
            best_BX = np.argsort(-weighted_BX, axis=1, kind="stable")[:, :k]
            return places_X[best_BX], weighted_BX[rows_B1, best_BX]
        top_BX = np.sort(np.argpartition(-weighted_BX, count, axis=1)[:, :count], axis=1)
        best_BX = np.argsort(-weighted_BX[rows_B1, top_BX], axis=1, kind="stable")[:, :k]
        best_BX = top_BX[rows_B1, best_BX]
        return places_X[best_BX], weighted_BX[rows_B1, best_BX]

    def best(
        self, rows_X: IntArray, weighted_X: FloatArray, excluded: IntArray, eligibility: Eligibility, *, k: int
    ) -> tuple[IntArray, FloatArray]:
        """Finds the k items of the highest relevance for one user that pass the filter and are not excluded.

        Args:
            rows_X: The row numbers of the items that were compared with the user's query, from `compare`.
            weighted_X: The relevance_weight * relevance of each of these items, float32.
            excluded: The places (item numbers) of items that must not be returned to the user, int64.
            eligibility: The items that pass the filter.
            k: How many items to find.

        Returns:
            The places (item numbers) of at most k items, best first, int64, and relevance_weight * relevance of each
            item, float32.
        """
        for count in (k + SPARE + len(excluded), len(rows_X)):
            top = np.argpartition(-weighted_X, count - 1)[:count] if count < len(rows_X) else np.arange(len(rows_X))
            top = top[np.lexsort((rows_X[top], -weighted_X[top]))]
            places = self._places.rows[rows_X[top]]
            is_good = eligibility.allows(places) & ~np.isin(places, excluded)
            if np.count_nonzero(is_good) >= k:
                break
        return places[is_good][:k], weighted_X[top][is_good][:k]


def _clustered(
    places: GrowingArray[np.int64], units: GrowingArray[np.float32], clusters: VectorIndex | None
) -> tuple[GrowingArray[np.int64], GrowingArray[np.float32], VectorIndex | None]:
    """The rows with clusters if there are many rows. The last rows may be in no cluster.

    Clusters are found again when the number of rows has doubled. The rows then get the order of the clusters.
    """
    if len(units) <= COMPARED_ALL:
        return places, units, None
    if clusters is None or len(units) >= 2 * clusters.trained_on:
        clusters = VectorIndex.build(units.rows)
        places, units = GrowingArray(places.rows[clusters.order_X]), GrowingArray(units.rows[clusters.order_X])
        return places, units, clusters.reordered()
    return places, units, clusters.with_rows(units.rows) if len(units) - len(clusters) > UNINDEXED else clusters
