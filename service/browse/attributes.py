"""Describes the attributes of a catalogue: which values filters can name."""

import math
from threading import Lock
from typing import Any, Literal, NamedTuple, cast

import polars as pl

from rqrec.models.bundle.tables import ITEM_ID
from rqrec.service.catalogue.snapshot import Snapshot
from rqrec.service.contract.browse import MAX_VALUES

Kind = Literal["label", "number", "text"]
# A string is a label if it has at most so many values, or if an item shares its value with one more on average.
FEW_VALUES = MAX_VALUES
LONGEST_VALUE = 256  # characters of a value that is listed
Value = bool | int | float | str


class Attribute(NamedTuple):
    """One attribute of the catalogue's items; see `service.contract.browse.AttributeReply`.

    Attributes:
        name: Its name.
        kind: Whether it is a label, a number or another text.
        values: The commonest values of a label, each with the number of items that have it, the commonest first.
        smallest: The smallest number; None for other kinds.
        largest: The largest number; None for other kinds.
        is_filterable: Whether a filter can name it.
    """

    name: str
    kind: Kind
    values: list[tuple[Value, int]]
    smallest: float | None
    largest: float | None
    is_filterable: bool


class Attributes:
    """Describes the attributes of the latest state of a catalogue, and keeps the result until the state changes.

    Any thread may call the object; it waits while another thread counts.

    Args:
        title: The attribute with the titles, which is a text; None if there is none.
    """

    def __init__(self, title: str | None) -> None:
        self._title = title
        self._lock = Lock()
        self._kept: tuple[object, list[Attribute]] | None = None

    def describe(self, snapshot: Snapshot) -> list[Attribute]:
        """Returns the attributes of a state of the catalogue, in the order of the bundle's columns."""
        with self._lock:
            if self._kept is None or self._kept[0] is not snapshot.table.state:
                items = snapshot.filters.present_items()
                described = [
                    _described(items[name], is_title=name == self._title) for name in items.columns if name != ITEM_ID
                ]
                self._kept = snapshot.table.state, described
            return self._kept[1]


def _described(column: pl.Series, *, is_title: bool) -> Attribute:
    is_list = isinstance(column.dtype, pl.List)
    kind = cast("pl.DataType", column.dtype.inner) if isinstance(column.dtype, pl.List) else column.dtype
    if kind.is_numeric() and not is_list:
        numbers = column.filter(column.is_finite()) if kind.is_float() else column.drop_nulls()
        smallest, largest = (None, None) if numbers.is_empty() else (_number(numbers.min()), _number(numbers.max()))
        return Attribute(column.name, "number", [], smallest, largest, True)
    is_filterable = kind.is_numeric() or kind in (pl.String, pl.Boolean)
    if is_filterable and not is_title and _has_few_values(column.explode() if is_list else column):
        return Attribute(column.name, "label", _commonest(column), None, None, True)
    return Attribute(column.name, "text", [], None, None, is_filterable)


def _has_few_values(values: pl.Series) -> bool:
    values = values.drop_nulls()
    num_values = values.n_unique()
    return num_values <= FEW_VALUES or 2 * num_values <= len(values)


def _commonest(column: pl.Series) -> list[tuple[Value, int]]:
    """The commonest values, each with the number of items that have it; equally common ones in their order."""
    frame = column.alias("value").to_frame()
    if isinstance(column.dtype, pl.List):
        frame = frame.select(pl.col("value").list.unique()).explode("value")
    if frame.schema["value"] == pl.String:
        frame = frame.filter(pl.col("value").str.len_chars() <= LONGEST_VALUE)
    counts = frame.drop_nulls().group_by("value").len().sort(["len", "value"], descending=[True, False])
    return [(value, count) for value, count in counts.head(MAX_VALUES).iter_rows() if _is_shown(value)]


def _is_shown(value: Any) -> bool:
    return not isinstance(value, float) or math.isfinite(value)


def _number(value: Any) -> float:
    return float(value)
