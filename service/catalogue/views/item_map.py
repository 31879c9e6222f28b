"""Reads points off the map of a catalogue: all items or a sample, with first codes and values of an attribute.

Shapes: R items of the bundle, M points.
"""

from collections.abc import Sequence
from reprlib import repr as shortened
from typing import Any, NamedTuple

import numpy as np
import orjson

from rqrec.models.array_types import BoolArray, FloatArray, IntArray
from rqrec.models.bundle.bundle import Bundle
from rqrec.models.bundle.tables import ITEM_ID
from rqrec.models.trie.trie import NO_LEAF
from rqrec.service.catalogue.item import as_shown
from rqrec.service.catalogue.item_table import NO_ROW, ItemTable
from rqrec.service.errors import InvalidPart

CHUNK = 4096  # rows that are looked up in one step


class Points(NamedTuple):
    """Items on the map. An item that was written later is on it only if the bundle holds an item of the same id.

    Attributes:
        item_ids: The id of each item.
        places_M2: Its place on the map.
        codes_M: The first code of its semantic ID, int64.
        values: One value of the attribute; None if it has none. Empty if no attribute was asked for.
    """

    item_ids: list[str]
    places_M2: FloatArray
    codes_M: IntArray
    values: list[Any]


def read_points(
    table: ItemTable, bundle: Bundle, *, limit: int, attribute: str | None, item_ids: Sequence[str] = ()
) -> Points:
    """Reads points off the map. Deleted items are left out.

    Above `limit`, the items are a sample, which is the same for every call.

    Args:
        table: All items.
        bundle: The bundle of the table's model, with a map.
        limit: Largest number of points besides `item_ids`.
        attribute: The attribute whose values are returned; None for none.
        item_ids: Items that are on the map in any case, and come first; those that the map does not hold are ignored.

    Raises:
        InvalidPart: If no item has such an attribute.
    """
    assert bundle.map is not None
    if attribute is not None and attribute not in (known := [name for name in bundle.items.columns if name != ITEM_ID]):
        raise InvalidPart(("attribute",), f"expected one of {shortened(known)}, got {shortened(attribute)}")
    wanted = table.leaf_of_id.leaves(list(dict.fromkeys(item_ids)))
    rows_M = table.trie.row_of_leaf_N[wanted[wanted != NO_LEAF]].astype(np.int64)
    rows_M = rows_M[_places(table, bundle, rows_M) != NO_LEAF]
    rows_M = np.concatenate([rows_M, _sample(table, bundle, limit, rows_M)])
    places = _places(table, bundle, rows_M)
    items = table.items(places)
    values: list[Any] = []
    if attribute is not None:
        shown = as_shown(bundle.items[attribute].gather(rows_M).alias("values").to_frame())
        values = [_one_of(value) for value in shown["values"].to_list()]
        for number in np.flatnonzero(_is_written(table, places)).tolist():
            values[number] = _one_of(orjson.loads(items[number].payload).get(attribute))
    codes_M = table.codes_of(places)[:, 0]
    return Points([item.item_id for item in items], bundle.map.places_R2[rows_M], codes_M, values)


def _sample(table: ItemTable, bundle: Bundle, limit: int, taken: IntArray) -> IntArray:
    """At most `limit` rows of the bundle, in its sampling order, whose items exist and are not taken."""
    assert bundle.map is not None
    order_R, found, missing = bundle.map.sampling_order_R, [np.empty(0, dtype=np.int64)], limit
    for begin in range(0, len(order_R), CHUNK):
        rows = order_R[begin : begin + CHUNK].astype(np.int64)
        rows = rows[(_places(table, bundle, rows) != NO_LEAF) & ~np.isin(rows, taken)][:missing]
        found.append(rows)
        missing -= len(rows)
        if not missing:
            break
    return np.concatenate(found)


def _places(table: ItemTable, bundle: Bundle, rows_M: IntArray) -> IntArray:
    """The present place of the item of each row of the bundle; `NO_LEAF` for a deleted one."""
    places_M: IntArray = table.place_of_leaf_N[bundle.learned.leaf_of_row_R[rows_M]].astype(np.int64)
    return places_M


def _is_written(table: ItemTable, places: IntArray) -> BoolArray:
    """Which places hold content that was written after publishing."""
    num_leaves = table.trie.num_leaves
    is_leaf = places < num_leaves
    is_written: BoolArray = ~is_leaf | (table.row_of_leaf_N[np.where(is_leaf, places, 0)] != NO_ROW)
    return is_written


def _one_of(value: Any) -> Any:
    """One value of an attribute that may be a list; None for an object, which no colour or name stands for."""
    while isinstance(value, list):
        value = value[0] if value else None
    return None if isinstance(value, dict) else value
