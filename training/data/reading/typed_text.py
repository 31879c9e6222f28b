"""Types of attributes that are written as text: numbers, flags, prices, and lists as pandas writes them."""

import ast
import re
from typing import Any

import polars as pl

from rqrec.training.data.dataset import ITEM_ID
from rqrec.training.data.report import DataReport

MISSING_TEXTS = ["", "na", "n/a", "nan", "null", "none", r"\n", "<na>"]  # in lower case
LEADING_ZERO = r"^[+-]?0\d"
PRICE = r"^([$€£¥]) ?(\d{1,3}(,\d{3})+|\d+)(\.\d+)?$"
LIST_TEXT = r"(?s)^\[.*\]$"
ADJACENT_QUOTES = r"""['"]\s+['"]"""
QUOTED = r"""'([^']*)'|"([^"]*)\""""
FLAGS = ["true", "false"]
VALUES_PER_ODD_ONE = 10  # with fewer values that are no numbers, a column is probably meant to be a number
LIST_SEPARATOR = "|"
VALUES = "values"


def typed_texts(items: pl.DataFrame, *, path: str, from_csv: bool, report: DataReport) -> pl.DataFrame:
    """Gives the text columns of a table the type of their values, if all values have it.

    A column whose name ends in `[]`, such as `genres[]`, holds lists with `|` between the values. Numbers with leading
    zeros stay text.

    Args:
        items: The items. The column item_id stays as it is.
        path: The file, for the report.
        from_csv: Whether the file has no types, so that numbers and flags are text.
        report: Receives a line for every column whose values were changed.
    """
    columns = [
        _typed(column, path, from_csv, report) if column.dtype == pl.String and column.name != ITEM_ID else column
        for column in items
    ]
    return pl.DataFrame(columns)


def _typed(column: pl.Series, path: str, from_csv: bool, report: DataReport) -> pl.Series:
    name = column.name
    column = column.alias(VALUES)  # a plain name, because polars reads names such as "*" as patterns
    if name.endswith("[]"):
        return column.str.split(LIST_SEPARATOR).alias(name.removesuffix("[]"))
    return _converted(column, name, path, from_csv, report).alias(name)


def _converted(column: pl.Series, name: str, path: str, from_csv: bool, report: DataReport) -> pl.Series:
    values = without_missing(column)
    if values.null_count() == len(values):
        return column
    converted = _numbers_or_flags(values) if from_csv else None
    if converted is not None:
        emptied = values.null_count() - column.replace("", None).null_count()
        if emptied:
            report.note(f"{path}: column {name!r} is a number; {emptied} texts such as 'NA' count as missing")
        return converted
    if from_csv:
        _note_odd_values(values, name, path, report)
    if values.str.contains(PRICE).all() and values.str.slice(0, 1).n_unique() <= 1 + (values.null_count() > 0):
        report.note(f"{path}: column {name!r} holds prices such as {values.drop_nulls()[0]!r}: read as numbers")
        return values.str.replace_all(r"[^\d.]", "").cast(pl.Float64)
    if values.str.contains(LIST_TEXT).all():
        lists = _lists(values)
        if lists is not None:
            report.note(f"{path}: column {name!r} holds lists such as {values.drop_nulls()[0][:40]!r}: read as lists")
            return lists
    return column


def without_missing(column: pl.Series) -> pl.Series:
    """Returns texts without spaces around them, null for those that stand for a missing value."""
    stripped = column.str.strip_chars()
    is_missing = stripped.str.to_lowercase().is_in(MISSING_TEXTS)
    return stripped.to_frame().select(pl.when(~is_missing).then(stripped).alias(column.name)).to_series()


def _note_odd_values(values: pl.Series, name: str, path: str, report: DataReport) -> None:
    """Says why a column that is nearly a number is text."""
    odd = values.is_not_null() & values.cast(pl.Float64, strict=False).is_null()
    present = len(values) - values.null_count()
    if 0 < odd.sum() * VALUES_PER_ODD_ONE <= present:
        row = odd.arg_true()[0]
        report.note(
            f"{path}: column {name!r} is text, because {odd.sum()} of {present} values are not numbers, the first "
            f"{values[row]!r} (data row {row + 1})"
        )


def _numbers_or_flags(values: pl.Series) -> pl.Series | None:
    lower = values.str.to_lowercase()
    if lower.drop_nulls().is_in(FLAGS).all():
        return lower == "true"
    if values.str.contains(LEADING_ZERO).any():
        return None
    for number in (pl.Int64, pl.Float64):
        numbers = values.cast(number, strict=False)
        if numbers.null_count() == values.null_count():
            # A long whole number is an id: a float would not keep its digits.
            too_long = number == pl.Float64 and not values.str.contains(r"[.eE]").any()
            return None if too_long else numbers
    return None


def _lists(values: pl.Series) -> pl.Series | None:
    """Returns lists of strings or of numbers; None if a text is not the text of such a list."""
    rows: list[list[Any] | None] = []
    kinds = set()
    for text in values.to_list():
        if text is None:
            rows.append(None)
            continue
        row = _list_of(text)
        if row is None:
            return None
        kinds |= {"text" if isinstance(value, str) else type(value).__name__ for value in row}
        rows.append(row)
    if kinds <= {"text"}:
        return pl.Series(values.name, rows, dtype=pl.List(pl.String))
    if kinds <= {"int", "float"}:
        return pl.Series(values.name, [row and [float(x) for x in row] for row in rows], dtype=pl.List(pl.Float64))
    return None


def _list_of(text: str) -> list[Any] | None:
    """Reads a list as Python, or as numpy, which writes spaces between the values."""
    if re.search(ADJACENT_QUOTES, text):  # Python would join the two strings
        return [one or other for one, other in re.findall(QUOTED, text)]
    try:
        row = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        try:
            return [float(number) for number in text[1:-1].replace(",", " ").split()]
        except ValueError:
            return None
    return row if isinstance(row, list) else None
