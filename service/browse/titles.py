"""Finds the items whose titles have the words of a query, in a catalogue that grows.

Shapes: N leaves, S written rows, X titles of leaves and then of rows, K found items.
"""

from threading import Lock

import numpy as np
from numpy.typing import NDArray

from rqrec.models.array_types import IntArray
from rqrec.models.search.eligibility import Eligibility
from rqrec.service.browse.spaces import Found, allowed_rows
from rqrec.service.browse.title_index import TitleIndex, read_query
from rqrec.service.catalogue.snapshot import Snapshot

MOST_POPULAR = 1 << 29  # more choices of an item count as so many


class Titles:
    """Finds items by the words of their titles.

    The titles of the bundle are indexed at the first query. The written rows are indexed again when there are more.

    Args:
        published: The state of the published model.
        attribute: The attribute with the titles.
        popularity_N: How often users chose the item of each leaf in the training data.
    """

    def __init__(self, published: Snapshot, attribute: str, popularity_N: NDArray[np.integer]) -> None:
        self._published, self._attribute = published, attribute
        self._popularity_N = popularity_N.astype(np.int64)
        self._lock = Lock()
        self._leaves: TitleIndex | None = None
        self._rows: tuple[object, TitleIndex] | None = None

    def find(self, snapshot: Snapshot, text: str, k: int, eligible: Eligibility) -> Found:
        """Finds the eligible items whose titles have the most words of a query.

        Of titles with equally many words, the one that is equal to the query is first. Then the item that users chose
        most often in the training data is first.

        Args:
            snapshot: The state of the catalogue.
            text: The query. Its last word may be the beginning of a word.
            k: The number of items to find.
            eligible: The items that may be found.

        Returns:
            At most `k` items. The score of an item is the share of the words that its title has, above 0.
        """
        query, rows = read_query(text), allowed_rows(snapshot, eligible)
        leaves, written = self._indexed(snapshot)
        counts_X = np.concatenate(
            [
                leaves.count_words(query) * (True if rows.unwritten_N is None else rows.unwritten_N),
                written.count_words(query)[: len(rows.allowed_S)] * rows.allowed_S,
            ]
        )
        equal = np.concatenate([leaves.equal_to(query), len(leaves) + written.equal_to(query)])
        popularity_X = np.concatenate([self._popularity_N, self._popularity_of_rows(snapshot)])
        parts = [np.empty(0, dtype=np.int64)]
        for num_words in range(len(query.words), 0, -1):
            having = np.flatnonzero(counts_X == num_words)
            is_first = np.isin(having, equal) if num_words == len(query.words) else np.zeros(len(having), np.bool_)
            parts.append(_most_popular(having, popularity_X[having], is_first, k))
            if sum(map(len, parts)) >= k:
                break
        best = np.concatenate(parts)[:k]
        return Found(rows.places(best), counts_X[best] / max(len(query.words), 1))

    def _indexed(self, snapshot: Snapshot) -> tuple[TitleIndex, TitleIndex]:
        """The index of the bundle's titles, and one with at least the written rows of the snapshot."""
        rows = snapshot.table.rows
        with self._lock:
            if self._leaves is None:
                titles = self._published.filters.bundle_items[self._attribute]
                self._leaves = TitleIndex.build(titles.gather(self._published.trie.row_of_leaf_N))
            if self._rows is None or self._rows[0] is not rows.lineage or len(self._rows[1]) < len(rows):
                written = snapshot.filters.written_items()[self._attribute]
                self._rows = rows.lineage, TitleIndex.build(written)
            return self._leaves, self._rows[1]

    def _popularity_of_rows(self, snapshot: Snapshot) -> IntArray:
        """How often users chose the item of each written row, whatever its content was then; shape (S,)."""
        table, num_leaves = snapshot.table, len(self._popularity_N)
        popularity_S = np.zeros(len(table.rows), dtype=np.int64)
        if len(table.rows):
            moved = np.flatnonzero(table.place_of_leaf_N >= num_leaves)
            popularity_S[table.place_of_leaf_N[moved] - num_leaves] = self._popularity_N[moved]
            rewritten = np.flatnonzero(table.row_of_leaf_N >= 0)
            popularity_S[table.row_of_leaf_N[rewritten]] = self._popularity_N[rewritten]
        return popularity_S


def _most_popular(having: IntArray, popularity: IntArray, is_first: NDArray[np.bool_], k: int) -> IntArray:
    """The k first of some titles: those marked, then the most popular, then those with the smallest numbers."""
    # One key for each title; all keys differ, so that the partition is the same everywhere.
    keys = (is_first * MOST_POPULAR + np.minimum(popularity, MOST_POPULAR - 1) << 32) - having
    if len(having) > k:
        kept = np.argpartition(-keys, k)[:k]
        having, keys = having[kept], keys[kept]
    return having[np.argsort(-keys)]
