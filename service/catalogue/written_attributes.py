"""The attributes of written items as a polars frame, made only when a filter needs them."""

from threading import Lock

import numpy as np
import polars as pl

from rqrec.models.growing_array import GrowingArray
from rqrec.service.catalogue.item import frame_of


class WrittenAttributes:
    """Converts written items to a polars frame, and keeps the frame, so that each item is converted only once.

    The object can be used from several threads at the same time.

    Args:
        schema: The polars type of `item_id` and of each attribute, by name.
    """

    def __init__(self, schema: pl.Schema) -> None:
        self._schema = schema
        self._lock = Lock()
        self._lineage: object = None
        self._chunks: list[pl.DataFrame] = []

    def since(self, begin: int, rows: GrowingArray[np.object_]) -> pl.DataFrame:
        """Returns a frame with the attributes of the written items from index `begin` on.

        Args:
            begin: Index of the first item in the frame, in [0, len(rows)].
            rows: All written items, oldest first; each element is an `Item`.
        """
        with self._lock:
            if self._lineage is not rows.lineage:
                self._lineage, self._chunks = rows.lineage, [frame_of([], self._schema)]
            chunks = self._chunks
            if (count := sum(map(len, chunks))) < len(rows):
                chunks.append(frame_of(rows.rows[count:].tolist(), self._schema))
            # Chunks at least halve in size from one to the next, so each row is copied only a few times.
            while len(chunks) > 1 and 2 * len(chunks[-1]) >= len(chunks[-2]):
                chunks[-2:] = [pl.concat(chunks[-2:], rechunk=True)]
            return pl.concat(chunks).slice(begin, len(rows) - begin)
