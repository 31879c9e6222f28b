"""The replica's own table between items and the leaves of the trie: what every answer is checked against.

Shapes: N leaves, R rows, M looked-up items.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from models.bundle import ITEM_ID
from models.trie import NO_LEAF, IntArray, SemanticIdTrie


@dataclass(frozen=True)
class Item:
    """What the catalogue knows of an item; `payload` is its attributes as JSON."""

    item_id: str
    payload: str

    @property
    def attributes(self) -> dict[str, Any]:
        """The payload, read."""
        attributes: dict[str, Any] = json.loads(self.payload)
        return attributes


@dataclass(frozen=True, eq=False)
class ItemTable:
    """The items of one state of the catalogue, by the rows that the trie's leaves name.

    Attributes:
        trie: The catalogue's semantic IDs.
        rows: Every row's item; also rows that no leaf names any more.
        first_rows: Row of each item of the bundle, by id.
        later_rows: The same for items that were written or taken out since: these go before; None for one taken out.
    """

    trie: SemanticIdTrie
    rows: list[Item]
    first_rows: Mapping[str, int]
    later_rows: Mapping[str, int | None]

    @classmethod
    def of(cls, items: pl.DataFrame, trie: SemanticIdTrie) -> "ItemTable":
        """The table of a bundle's items (see `models.bundle.Bundle.items`)."""
        rows = items_of(items)
        return cls(trie, rows, {item.item_id: row for row, item in enumerate(rows)}, {})

    def changed(self, trie: SemanticIdTrie, added: Sequence[Item], removed: Sequence[str]) -> "ItemTable":
        """The table of a changed trie: the items that are its new rows, in order, and those that left it."""
        later = {item.item_id: row for row, item in enumerate(added, start=len(self.rows))}
        return ItemTable(
            trie, [*self.rows, *added], self.first_rows, {**self.later_rows, **later, **dict.fromkeys(removed)}
        )

    def kept(self, trie: SemanticIdTrie, is_kept_R: NDArray[np.bool_], new_row_R: IntArray) -> "ItemTable":
        """The table with some of its rows, all that the bundle has among them, under their new numbers."""
        later = {item_id: None if row is None else int(new_row_R[row]) for item_id, row in self.later_rows.items()}
        rows = [item for item, is_kept in zip(self.rows, is_kept_R.tolist(), strict=True) if is_kept]
        return ItemTable(trie, rows, self.first_rows, later)

    def __len__(self) -> int:
        return self.trie.num_leaves

    @cached_property
    def leaf_of_row(self) -> IntArray:
        """The leaf of each row that this state has had, -1 where there is none any more."""
        return self.trie.leaf_of_row_N

    def row(self, item_id: str) -> int | None:
        """The item's row, None where the catalogue does not hold it."""
        if item_id in self.later_rows:
            return self.later_rows[item_id]
        return self.first_rows.get(item_id)

    def find(self, item_ids: Sequence[str]) -> IntArray:
        """The leaf of each item, -1 where the catalogue does not hold it; shape (M,)."""
        rows = map(self.row if self.later_rows else self.first_rows.get, item_ids)
        row_M = np.array([NO_LEAF if row is None else row for row in rows], dtype=np.int64)
        return np.where(row_M == NO_LEAF, NO_LEAF, self.leaf_of_row[row_M])

    def items(self, leaves_M: IntArray) -> list[Item]:
        """The item at each leaf."""
        rows = self.rows
        return [rows[row] for row in self.trie.row_of_leaf_N[leaves_M].tolist()]


def items_of(frame: pl.DataFrame) -> list[Item]:
    """The rows of a frame as items: `item_id`, and the other columns as their attributes."""
    attributes = frame.drop(ITEM_ID)
    payloads: list[str] = (
        attributes.to_struct().struct.json_encode().to_list() if attributes.width else ["{}"] * len(frame)
    )
    return [Item(item_id, payload) for item_id, payload in zip(frame[ITEM_ID], payloads, strict=True)]


def frame_of(items: Sequence[Item], schema: pl.Schema) -> pl.DataFrame:
    """The inverse of `items_of`."""
    rows = [{**item.attributes, ITEM_ID: item.item_id} for item in items]
    return pl.DataFrame(rows, schema=schema)
