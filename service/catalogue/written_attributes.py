"""The attributes of written rows as a polars frame, made only when a filter needs them."""

from threading import Lock

import numpy as np
import polars as pl

from rqrec.models.growing_array import GrowingArray
from rqrec.service.catalogue.item import frame_of


class WrittenAttributes:
    """Keeps the frame of the rows that were written so far, and adds new rows on demand. Safe in several threads.

    Args:
        schema: item_id and the attributes, with their types.
    """

    def __init__(self, schema: pl.Schema) -> None:
        self._schema = schema
        self._lock = Lock()
        self._lineage: object = None
        self._chunks: list[pl.DataFrame] = []

    def since(self, begin: int, rows: GrowingArray[np.object_]) -> pl.DataFrame:
        """Returns the attributes of a row and of all rows after it.

        Args:
            begin: The first row, 0 to len(rows).
            rows: The written items, one `Item` a row.
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
