"""The bundle's items by leaf, as clients see them.

Shapes: N leaves, M looked-up leaves.
"""

from collections.abc import Sequence
from typing import overload

import numpy as np
import polars as pl

from rqrec.models.array_types import Int32Array, IntArray
from rqrec.models.bundle.tables import ITEM_ID
from rqrec.service.catalogue.item import Item, items_of

MADE_WHEN_NEEDED_FROM = 100_000  # items; as objects they would take about 400 bytes each


class BundleItems(Sequence[Item]):
    """The bundle's items, in the order of the leaves. They never change.

    The items of a small catalogue are objects from the start. Those of a large one are made from the columns when they
    are asked for.

    Args:
        items: The items in the order of the bundle: `item_id` and the attributes, as `as_shown` returns them.
        row_of_leaf_N: For each leaf, the number of its item in the bundle.
    """

    def __init__(self, items: pl.DataFrame, row_of_leaf_N: Int32Array) -> None:
        self._frame, self._row_of_leaf_N = items, row_of_leaf_N
        self._items = items_of(items[row_of_leaf_N]) if len(items) < MADE_WHEN_NEEDED_FROM else None

    @property
    def ids(self) -> pl.Series:
        """The id of each of N items. No item is made for it."""
        return self._frame[ITEM_ID].gather(self._row_of_leaf_N)

    def at(self, leaves_M: IntArray) -> list[Item]:
        """Returns the items of M leaves."""
        if self._items is not None:
            items = self._items
            return [items[leaf] for leaf in leaves_M.tolist()]
        return items_of(self._frame[self._row_of_leaf_N[leaves_M]]) if len(leaves_M) else []

    @overload
    def __getitem__(self, leaf: int) -> Item: ...

    @overload
    def __getitem__(self, leaf: slice) -> Sequence[Item]: ...

    def __getitem__(self, leaf: int | slice) -> Item | Sequence[Item]:
        found = self.at(np.atleast_1d(np.arange(len(self))[leaf]))
        return found if isinstance(leaf, slice) else found[0]

    def __len__(self) -> int:
        return len(self._frame)
