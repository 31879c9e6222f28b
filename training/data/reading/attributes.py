"""Converts item attributes to types from which features can be computed. Objects become one column per field."""

import re
from collections import Counter
from collections.abc import Sequence

import numpy as np
import polars as pl

from rqrec.training.data.columns import ITEMS, NOT_USED, Column
from rqrec.training.data.dataset import ITEM_ID, DataError
from rqrec.training.data.reading.nested import in_fixed_order
from rqrec.training.data.report import DataReport

VALUES = "values"
PLAIN = (pl.String, pl.Boolean, pl.Date, pl.Datetime, pl.Time)  # kinds of values beside numbers, also in lists
MOST_OF_VECTOR = 1e12  # larger numbers overflow when float32 adds up their squares


def usable_attributes(
    items: pl.DataFrame, *, path: str, report: DataReport, ignored: Sequence[str] = ()
) -> pl.DataFrame:
    """Converts every attribute to one of: string, number, boolean, date, list of these, or vector of fixed length.

    This function decides which types later stages and the service meet. Each field of a nested object becomes an
    attribute of its own, such as `details.brand`. Nested lists of strings are flattened. Dates are kept: the service
    returns them with the item, but they are not used as features. Attributes without any value are dropped.

    Args:
        items: The items table: one row per item, with the column item_id.
        path: Name of the items file, for messages.
        report: Receives a line for every column that was changed or dropped. If several columns have a fault, it also
            receives all faults but the last one, which is raised.
        ignored: Names of attributes to leave out. A field of an object has a name such as `details.brand`.

    Returns:
        The items table with the converted columns.

    Raises:
        DataError: If a column has another type, such as bytes, or holds vectors of different lengths, or vectors with
            numbers that are not finite or larger than 1e12; or if two attributes have the same name, or polars (the
            table library) would read a name as a pattern, such as `^a$b$`.
    """
    # A loop, because `drop` reads names such as "*" as patterns.
    items = pl.DataFrame([column for column in _leaves(items, path, report) if column.name not in ignored])
    if patterns := [name for name in items.columns if _is_other_pattern(name)]:
        raise DataError(
            f"{path}: an attribute must not have the name {patterns[0]!r}, which polars reads as a pattern: rename it, "
            f"or set DatasetSettings.ignored_columns = ({patterns[0]!r},)"
        )
    columns, faults = [], []
    for column in items:
        try:  # a plain name, because polars reads names such as "*" as patterns
            usable = _usable(column.alias(VALUES), column.name, items[ITEM_ID], path).alias(column.name)
        except DataError as error:
            faults.append(error)
            continue
        if usable.dtype == pl.Null:
            report.note(f"{path}: column {column.name!r} is dropped, because all its values are missing")
            report.columns.append(Column(ITEMS, column.name, NOT_USED, "all values are missing", missing_share=1.0))
            continue
        if _is_long(_innermost(column.dtype)):
            report.note(f"{path}: column {column.name!r} holds numbers of more than 64 bits: read as text")
        if usable.dtype.is_temporal():
            report.note(f"{path}: column {column.name!r} ({usable.dtype}) is not used as a feature")
        columns.append(usable)
    for fault in faults[:-1]:
        report.refuse(str(fault))
    if faults:
        raise faults[-1]
    return pl.DataFrame(columns)


def _is_other_pattern(name: str) -> bool:
    """Returns whether polars reads a name as a pattern that does not match the name itself."""
    if not (name.startswith("^") and name.endswith("$")):
        return False
    try:
        return re.search(name, name) is None
    except re.error:
        return True


def _leaves(items: pl.DataFrame, path: str, report: DataReport) -> pl.DataFrame:
    """Replaces objects, and lists of objects, by one column for each of their fields."""
    while nested := [column for column in items if _fields(column.dtype)]:
        replaced = {column.name for column in nested}
        columns = [column for column in items if column.name not in replaced]
        for column in nested:
            leaves = _unnested(column)
            report.note(f"{path}: column {column.name!r} holds objects: read as attributes such as {leaves[0].name!r}")
            columns += leaves
        counts = Counter(column.name for column in columns)
        if twice := [name for name, count in counts.items() if count > 1]:
            raise DataError(f"{path}: two attributes have the name {min(twice)!r}: rename one of them")
        items = pl.DataFrame(columns)
    return items


def _fields(dtype: pl.DataType) -> list[pl.Field]:
    inner = dtype.inner if isinstance(dtype, pl.List | pl.Array) else dtype
    return list(inner.fields) if isinstance(inner, pl.Struct) else []


def _unnested(column: pl.Series) -> list[pl.Series]:
    """Returns the fields of objects. No field is selected by its name: polars reads a name such as "*" as a pattern."""
    names = [field.name for field in _fields(column.dtype)]
    if isinstance(column.dtype, pl.Struct):
        leaves = column.struct.unnest().get_columns()
    else:
        numbers = [str(number) for number in range(len(names))]
        lists = column.arr.to_list() if isinstance(column.dtype, pl.Array) else column
        lists = lists.list.eval(pl.element().struct.rename_fields(numbers))
        leaves = [lists.list.eval(pl.element().struct.field(number)) for number in numbers]
    of_name = dict(zip(names, leaves, strict=True))
    return [of_name[name].alias(f"{column.name}.{name}") for name in in_fixed_order(names)]


def _usable(column: pl.Series, name: str, item_ids: pl.Series, path: str) -> pl.Series:
    """Converts a column to one of the types of `usable_attributes`. A column without any value gets the type Null."""
    given, inside = column.dtype, _innermost(column.dtype)
    if inside == pl.Null or inside == pl.Struct([]):
        return pl.Series(VALUES, [None] * len(column), dtype=pl.Null)
    column = column.cast(_converted(given))
    if column.dtype == pl.List(pl.List(pl.String)):
        column = column.list.eval(pl.element().explode()).list.unique(maintain_order=True)
    inner = column.dtype.inner if isinstance(column.dtype, pl.List | pl.Array) else column.dtype
    if not (inner in PLAIN or inner.is_numeric()):
        raise DataError(
            f"{path}: column {name!r} must hold strings, numbers, or lists of one of them, got {given}: convert "
            f"it, or set DatasetSettings.ignored_columns = ({name!r},)"
        )
    if inner.is_numeric() and column.dtype.is_nested():
        column = _vectors(column, name, item_ids, path)
    if isinstance(column.dtype, pl.Array):
        _require_finite(column, name, item_ids, path)
    return column


def _innermost(dtype: pl.DataType) -> pl.DataType:
    while isinstance(dtype, pl.List | pl.Array):
        assert isinstance(dtype.inner, pl.DataType)
        dtype = dtype.inner
    return dtype


def _is_long(dtype: pl.DataType) -> bool:
    """Returns whether integers have 128 bits. numpy has no such type, and a float would not keep their digits."""
    return dtype.is_integer() and "128" in str(dtype)


def _converted(dtype: pl.DataType) -> pl.DataType:
    """Returns the type without categories, decimals and 128 bits. Arrays become lists, except arrays of numbers."""
    if isinstance(dtype, pl.List | pl.Array):
        assert isinstance(dtype.inner, pl.DataType)
        inner = _converted(dtype.inner)
        return pl.Array(inner, dtype.size) if isinstance(dtype, pl.Array) and inner.is_numeric() else pl.List(inner)
    if isinstance(dtype, pl.Categorical | pl.Enum) or _is_long(dtype):
        return pl.String()
    return pl.Float64() if dtype.is_decimal() else dtype


def _vectors(column: pl.Series, name: str, item_ids: pl.Series, path: str) -> pl.Series:
    if isinstance(column.dtype, pl.Array):
        return column if column.dtype.size else pl.Series(VALUES, [None] * len(column), dtype=pl.Null)
    widths_N = column.list.len()
    widths = widths_N.drop_nulls().unique().sort()
    if set(widths) <= {0}:  # no list, or empty ones only
        return pl.Series(VALUES, [None] * len(column), dtype=pl.Null)
    if len(widths) != 1:
        row = (widths_N != widths_N.drop_nulls()[0]).arg_true()[0]
        raise DataError(
            f"{path}: vectors in column {name!r} must have the same length, got lengths {widths.head(5).to_list()}; "
            f"that of item {item_ids[row]!r} is the first that differs: correct them, or write the numbers as strings "
            "if they are labels"
        )
    return column.cast(pl.Array(pl.Float32, widths[0]))


def _require_finite(column: pl.Series, name: str, item_ids: pl.Series, path: str) -> None:
    present = column.is_not_null().to_numpy()
    is_usable = (np.abs(column.drop_nulls().to_numpy()) <= MOST_OF_VECTOR).all(axis=1)  # False for NaN
    if not is_usable.all():
        row = int(np.flatnonzero(present)[np.flatnonzero(~is_usable)[0]])
        raise DataError(
            f"{path}: column {name!r} must hold finite numbers of at most {MOST_OF_VECTOR:g}, but "
            f"{int((~is_usable).sum())} vectors hold a larger one, a NaN, an infinity or no number, the first in "
            f"item {item_ids[row]!r}: correct them, or leave out the whole vector"
        )
