"""Converts item attributes to types from which features can be computed. Objects become one column per field."""

import re
from collections.abc import Sequence

import numpy as np
import polars as pl

from rqrec.training.data.columns import ITEMS, NOT_USED, Column
from rqrec.training.data.dataset import ITEM_ID, DataError
from rqrec.training.data.report import DataReport

VALUES = "values"


def usable_attributes(
    items: pl.DataFrame, *, path: str, report: DataReport, ignored: Sequence[str] = ()
) -> pl.DataFrame:
    """Converts every attribute to one of: string, number, boolean, date, list of strings, or vector of fixed length.

    Each field of a nested object becomes an attribute of its own, such as `details.brand`. Nested lists of strings are
    flattened. Dates are kept: the service returns them with the item, but they are not used as features. Attributes
    without any value are dropped.

    Args:
        items: The items table: one row per item, with the column item_id.
        path: Name of the items file, for messages.
        report: Receives a line for every column that was changed or dropped. If several columns have a fault, it also
            receives all faults but the last one, which is raised.
        ignored: Names of attributes to leave out. A field of an object has a name such as `details.brand`.

    Returns:
        The items table with the converted columns.

    Raises:
        DataError: If a column holds bytes, vectors of different lengths, or vectors with numbers that are not finite;
            or if two attributes have the same name, or polars (the table library) would read a name as a pattern, such
            as `^a$b$`.
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
        names = [name for name in items.columns if name not in {column.name for column in nested}]
        columns = [items[name] for name in names]
        for column in nested:
            leaves = _unnested(column)
            report.note(f"{path}: column {column.name!r} holds objects: read as attributes such as {leaves[0].name!r}")
            columns += leaves
        twice = {column.name for column in columns if sum(other.name == column.name for other in columns) > 1}
        if twice:
            raise DataError(f"{path}: two attributes have the name {min(twice)!r}: rename one of them")
        items = pl.DataFrame(columns)
    return items


def _fields(dtype: pl.DataType) -> list[pl.Field]:
    inner = dtype.inner if isinstance(dtype, pl.List) else dtype
    return list(inner.fields) if isinstance(inner, pl.Struct) else []


def _unnested(column: pl.Series) -> list[pl.Series]:
    names = [field.name for field in _fields(column.dtype)]
    if isinstance(column.dtype, pl.Struct):
        leaves = [column.struct.field(name) for name in names]
    else:
        leaves = [column.list.eval(pl.element().struct.field(name)) for name in names]
    return [leaf.alias(f"{column.name}.{name}") for leaf, name in zip(leaves, names, strict=True)]


def _usable(column: pl.Series, name: str, item_ids: pl.Series, path: str) -> pl.Series:
    dtype, inner = column.dtype, column.dtype.inner if isinstance(column.dtype, pl.List) else None
    if isinstance(dtype, pl.Categorical | pl.Enum):
        return column.cast(pl.String)
    if isinstance(dtype, pl.Decimal):
        return column.cast(pl.Float64)
    if isinstance(inner, pl.Categorical | pl.Enum):
        return column.cast(pl.List(pl.String))
    if isinstance(inner, pl.List) and inner.inner == pl.String:
        return column.list.eval(pl.element().explode()).list.unique(maintain_order=True)
    if isinstance(dtype, pl.Array) and dtype.inner == pl.String:
        return column.cast(pl.List(pl.String))
    if dtype in (pl.Binary, pl.Object) or isinstance(inner, pl.List | pl.Binary | pl.Array):
        raise DataError(
            f"{path}: column {name!r} must hold strings, numbers, or lists of one of them, got {dtype}: convert "
            f"it, or set DatasetSettings.ignored_columns = ({name!r},)"
        )
    if inner is not None and inner.is_numeric():
        column = _vectors(column, name, path)
    if isinstance(column.dtype, pl.Array):
        _require_finite(column, name, item_ids, path)
    return column


def _vectors(column: pl.Series, name: str, path: str) -> pl.Series:
    widths = column.drop_nulls().list.len().unique().sort()
    if not len(widths):
        return pl.Series(VALUES, [None] * len(column), dtype=pl.Null)
    if len(widths) != 1:
        raise DataError(
            f"{path}: vectors in column {name!r} must have the same length, got lengths "
            f"{widths.head(5).to_list()}: correct them, or write the numbers as strings if they are labels"
        )
    return column.cast(pl.Array(pl.Float32, widths[0]))


def _require_finite(column: pl.Series, name: str, item_ids: pl.Series, path: str) -> None:
    present = column.is_not_null().to_numpy()
    finite = np.isfinite(column.drop_nulls().to_numpy().astype(np.float32)).all(axis=1)
    if not finite.all():
        row = int(np.flatnonzero(present)[np.flatnonzero(~finite)[0]])
        raise DataError(
            f"{path}: column {name!r} must hold finite numbers, but {int((~finite).sum())} vectors hold a NaN, "
            f"an infinity or a missing number, the first in item {item_ids[row]!r}: correct them, or leave out the "
            "whole vector"
        )
