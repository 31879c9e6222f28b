"""The index of nearest vectors for a catalogue that grows: one part for the bundle's items, one for written rows.

Shapes: N leaves, S written rows, D width, K nearest vectors.
"""

from threading import Lock

import numpy as np
from numpy.typing import NDArray

from rqrec.models.array_types import BoolArray
from rqrec.models.growing_array import GrowingArray
from rqrec.models.nearest_vectors import Nearest, NearestVectors, VectorsOf


class SplitIndex:
    """Finds the nearest of N vectors that never change and of S vectors to which more are added.

    Both parts are indexed when they are first needed, and each vector once. Any thread may call the object; it waits
    while another thread indexes vectors.

    Args:
        leaves_of: Function that returns the vectors of given leaves, any float type.
        num_leaves: N.
        width: D.
    """

    def __init__(self, leaves_of: VectorsOf, num_leaves: int, width: int) -> None:
        self._leaves_of, self._num_leaves, self._width = leaves_of, num_leaves, width
        self._lock = Lock()
        self._leaves: NearestVectors | None = None
        self._rows = NearestVectors.empty(width)
        self._lineage: object = None

    def nearest(
        self,
        rows: GrowingArray[np.float32],
        query_D: NDArray[np.floating],
        count: int,
        *,
        allowed_N: BoolArray | None,
        allowed_S: BoolArray,
        first_row: int = 0,
    ) -> Nearest:
        """Finds the vectors with the largest cosines to a query.

        Args:
            rows: The vectors of the written rows of one state of the catalogue, at its end. Of longer vectors, the
                first D columns count.
            query_D: The query.
            count: K, the number of vectors to find, in [0, MOST_NEAREST].
            allowed_N: Whether each leaf may be found; None if all may.
            allowed_S: Whether each written row may be found.
            first_row: The index in `rows` of the first written row.

        Returns:
            The nearest vectors. Row n is leaf n if n < N, else written row n - N.
        """
        leaves, written = self._indexed(rows, first_row, len(allowed_S))
        found = leaves.nearest(self._leaves_of, query_D, count, allowed_N)
        if not allowed_S.any():
            return found
        allowed_X = np.zeros(len(written), dtype=np.bool_)  # a later state may have added more rows
        allowed_X[: len(allowed_S)] = allowed_S
        more = written.nearest(lambda row_X: rows.rows[first_row + row_X, : self._width], query_D, count, allowed_X)
        places = np.concatenate([found.rows_K, self._num_leaves + more.rows_K])
        cosines = np.concatenate([found.cosines_K, more.cosines_K])
        order = np.lexsort([places, -cosines])[:count]
        return Nearest(places[order], cosines[order])

    def _indexed(
        self, rows: GrowingArray[np.float32], first_row: int, size: int
    ) -> tuple[NearestVectors, NearestVectors]:
        with self._lock:
            if self._leaves is None:
                empty = NearestVectors.empty(self._width, room=self._num_leaves)
                self._leaves = empty.extended(self._leaves_of, self._num_leaves)
            if self._lineage is not rows.lineage:
                self._rows, self._lineage = NearestVectors.empty(self._width), rows.lineage
            if len(self._rows) < size:
                self._rows = self._rows.extended(lambda row_X: rows.rows[first_row + row_X, : self._width], size)
            return self._leaves, self._rows
