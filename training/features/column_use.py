"""Decides how each column of the items is used: as labels, a number, text, a vector, or not at all."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

import polars as pl

from rqrec.models.tokenizer.featurizer import label_marks
from rqrec.training.data.dataset import ITEM_ID, DataError
from rqrec.training.features.not_content import are_codes, is_number_of_group, why_not_content

FREE_TEXT_DISTINCT_SHARE = 0.5  # share of distinct values above which a string column is text
CHOSEN = "chosen by FeatureSettings.use"


class Use(StrEnum):
    """The ways in which training can use a column of the items table. IGNORE means that it is not used as a feature."""

    LABELS = "labels"
    NUMBER = "number"
    TEXT = "text"
    VECTOR = "vector"
    IGNORE = "ignore"


@dataclass(frozen=True)
class ColumnUse:
    """The decision how training uses one column of the items table.

    Attributes:
        name: Name of the column.
        use: How the column is used.
        reason: Why the column is used in this way, in a few words.
        in_text: Whether the words of the column are part of the item's text, from which the text encoder makes a
            vector. This is so for text, and for labels that are words and not codes.
    """

    name: str
    use: Use
    reason: str
    in_text: bool = False


def decide_uses(items: pl.DataFrame, chosen: Mapping[str, Use], *, min_label_count: int) -> tuple[ColumnUse, ...]:
    """Decides how training uses each column of the items table, except item_id.

    Args:
        items: The items table, one row per item.
        chosen: Uses by column name that the user has set, such as {"year": Use.LABELS}. Other columns are decided by
            their values.
        min_label_count: A label becomes a feature if at least this many items have it. A column without any such label
            is not used as labels, unless the user has chosen this.

    Returns:
        One decision per column, in the order of the columns.

    Raises:
        DataError: If a chosen column does not exist or cannot be used in this way.
    """
    names = [name for name in items.columns if name != ITEM_ID]
    if unknown := [name for name in chosen if name not in names]:
        raise DataError(
            f"FeatureSettings.use must name attributes of the items, but {unknown} are none: the attributes are {names}"
        )
    for name, use in chosen.items():
        _require_possible(items[name], use, items[ITEM_ID])
    return tuple(
        _chosen_use(items[name], chosen[name]) if name in chosen else _use(items[name], min_label_count)
        for name in names
    )


def _chosen_use(column: pl.Series, use: Use) -> ColumnUse:
    in_text = use is Use.TEXT or (use is Use.LABELS and _has_words(column))
    return ColumnUse(column.name, use, CHOSEN, in_text)


def _use(column: pl.Series, min_label_count: int) -> ColumnUse:
    name, dtype = column.name, column.dtype
    if reason := why_not_content(column):
        return ColumnUse(name, Use.IGNORE, reason)
    if isinstance(dtype, pl.Array):
        return ColumnUse(name, Use.VECTOR, f"lists of {dtype.shape[0]} numbers")
    if dtype == pl.Boolean:
        return ColumnUse(name, Use.LABELS, "true or false")
    if dtype.is_numeric() and not is_number_of_group(column):
        return ColumnUse(name, Use.NUMBER, "numbers")
    if dtype.is_numeric() or dtype in (pl.String, pl.List(pl.String)):
        return _use_of_words(column, min_label_count)
    return ColumnUse(name, Use.IGNORE, f"no rule for {dtype}")


def _use_of_words(column: pl.Series, min_label_count: int) -> ColumnUse:
    name, has_words = column.name, _has_words(column)
    is_list = isinstance(column.dtype, pl.List)
    if has_words and not is_list and column.drop_nulls().n_unique() > FREE_TEXT_DISTINCT_SHARE * len(column):
        return ColumnUse(name, Use.TEXT, "most values differ", in_text=True)
    counts = label_marks(column).group_by("label").len()["len"]
    if not (counts >= min_label_count).any():
        rare = f"no value is common to {min_label_count} items"
        return ColumnUse(name, Use.TEXT if has_words else Use.IGNORE, rare, in_text=has_words)
    if column.dtype.is_numeric():
        return ColumnUse(name, Use.LABELS, "ids of groups, by its name")
    kind = "lists of " if is_list else "repeated "
    return ColumnUse(name, Use.LABELS, kind + ("words" if has_words else "codes"), in_text=has_words)


def _has_words(column: pl.Series) -> bool:
    return column.dtype in (pl.String, pl.List(pl.String)) and not are_codes(column)


def _require_possible(column: pl.Series, use: Use, item_ids: pl.Series) -> None:
    """Raises an error if a column cannot be used as chosen. The error shows the first value that does not fit."""
    dtype = column.dtype
    is_words = dtype in (pl.String, pl.List(pl.String))
    if use is Use.NUMBER and dtype == pl.String:
        fits = column.cast(pl.Float64, strict=False).is_not_null() | column.is_null()
    else:
        possible = {
            Use.LABELS: is_words or dtype == pl.Boolean or dtype.is_numeric(),
            Use.NUMBER: dtype == pl.Boolean or dtype.is_numeric(),
            Use.TEXT: is_words or dtype.is_numeric(),
            Use.VECTOR: isinstance(dtype, pl.Array),
            Use.IGNORE: True,
        }
        fits = column.is_null() if not possible[use] else pl.Series([True] * len(column))
    if fits.all():
        return
    row = int((~fits).arg_true()[0])
    value = column[row].to_list() if isinstance(column[row], pl.Series) else column[row]
    raise DataError(
        f"FeatureSettings.use = {{{column.name!r}: {str(use)!r}}} does not fit the column: row {row + 1} (item "
        f"{item_ids[row]!r}) holds {str(value)[:60]!r} ({dtype}): correct the value, or choose another use, such as "
        "'ignore'"
    )
