"""Converts text columns to what their values mean: numbers, prices, booleans, or lists such as "['a', 'b']"."""

import ast
import re
import warnings
from collections import Counter
from typing import Any

import polars as pl

from rqrec.training.data.dataset import ITEM_ID, DataError
from rqrec.training.data.reading.written_numbers import LEADING_ZERO, written_numbers
from rqrec.training.data.report import DataReport

MISSING_TEXTS = ["", "na", "n/a", "nan", "null", "none", r"\n", "<na>"]  # in lower case
LIST_TEXT = r"(?s)^\[.*\]$"
ADJACENT_QUOTES = r"""['"]\s+['"]"""
QUOTED = r"""'([^']*)'|"([^"]*)\""""
FLAGS = ["true", "false"]
CODE_WITH_E = r"^\d+[eE]\d+$"  # programs write a sign or a point too: 1.2e5, 1e+05
THREE_DECIMALS = r"^[+-]?[1-9]\d{0,2}\.\d{3}$"  # or thousands, to another writer
VALUES_PER_ODD_ONE = 10  # with fewer values that are no numbers, a column is probably meant to be a number
LIST_SEPARATOR, OTHER_SEPARATORS = "|", (";", ">", ",")
VALUES = "values"


def typed_texts(
    items: pl.DataFrame, *, path: str, from_csv: bool, report: DataReport, decimal: str = "auto"
) -> pl.DataFrame:
    """Converts each text column of the items table to numbers, booleans or lists, if all its values are of that kind.

    A column whose name ends in `[]`, such as `genres[]`, is split into lists and loses this ending. The separator is
    `|`; if no value contains it, the first of `;`, `>` and `,` that occurs. Spaces around the parts, and empty parts,
    are removed. Numbers with leading zeros, and codes such as 12E4, stay text.

    Args:
        items: The items table. The column item_id does not change.
        path: Name of the items file, for the report.
        from_csv: Whether the file is CSV, in which numbers and booleans are text too.
        report: Receives a line for every column whose values were changed.
        decimal: The decimal mark of numbers: "." or ",", or "auto" to detect it in each column.

    Raises:
        DataError: If two columns have the same name without the ending `[]`.
    """
    counts = Counter(name.removesuffix("[]") if kind == pl.String else name for name, kind in items.schema.items())
    if twice := [name for name, count in counts.items() if count > 1]:
        raise DataError(
            f"{path}: column '{twice[0]}[]' is read as {twice[0]!r}, but there is a column {twice[0]!r} as well: rename"
            f" one of them, or set DatasetSettings.ignored_columns = ({twice[0]!r},)"
        )
    columns = [
        _typed(column, path, from_csv, report, decimal)
        if column.dtype == pl.String and column.name != ITEM_ID
        else column
        for column in items
    ]
    return pl.DataFrame(columns)


def _typed(column: pl.Series, path: str, from_csv: bool, report: DataReport, decimal: str) -> pl.Series:
    name = column.name
    column = column.alias(VALUES)  # a plain name, because polars reads names such as "*" as patterns
    if name.endswith("[]"):
        return _split(column, name, path, report).alias(name.removesuffix("[]"))
    return _converted(column, name, path, from_csv, report, decimal).alias(name)


def _split(column: pl.Series, name: str, path: str, report: DataReport) -> pl.Series:
    found = LIST_SEPARATOR
    if not column.str.contains(LIST_SEPARATOR, literal=True).any():
        present = [other for other in OTHER_SEPARATORS if column.str.contains(other, literal=True).any()]
        if present:
            found = present[0]
            report.note(f"{path}: column {name!r} is split at {found!r}, because no value has a {LIST_SEPARATOR!r}")
    parts = column.str.split(found).list.eval(pl.element().str.strip_chars())
    return parts.list.eval(pl.element().filter(pl.element() != ""))


def _converted(column: pl.Series, name: str, path: str, from_csv: bool, report: DataReport, decimal: str) -> pl.Series:
    values = without_missing(column)
    if values.null_count() == len(values):
        return column
    converted = _numbers_or_flags(values, decimal) if from_csv else None
    if converted is not None:
        if decimal == "auto" and _may_be_thousands(values, converted):
            report.note(
                f"{path}: column {name!r}: numbers such as {values.filter(values.str.contains(THREE_DECIMALS))[0]!r} "
                "are read with a decimal point: if it is between thousands, set DatasetSettings.decimal = ','"
            )
        emptied = values.null_count() - column.replace("", None).null_count()
        if emptied:
            report.note(f"{path}: column {name!r} is a number; {emptied} texts such as 'NA' count as missing")
        return converted
    numbers = _as_written(values, name, path, from_csv, report, decimal)
    if numbers is not None:
        return numbers
    if from_csv:
        _note_odd_values(values, name, path, report)
    if values.str.contains(LIST_TEXT).all():
        lists = _lists(values)
        if lists is not None:
            report.note(f"{path}: column {name!r} holds lists such as {values.drop_nulls()[0][:40]!r}: read as lists")
            return lists
    return column


def _as_written(
    values: pl.Series, name: str, path: str, from_csv: bool, report: DataReport, decimal: str
) -> pl.Series | None:
    """Reads prices, and in CSV other numbers with marks. A text in JSON without a currency is meant to be text."""
    found = written_numbers(values, decimal=decimal)
    if found is None or not (found.currency or from_csv):
        return None
    example = values.drop_nulls()[0]
    if not (found.is_sure or found.currency):
        report.note(
            f"{path}: column {name!r} is text, because numbers such as {example!r} have decimals or thousands after "
            "their mark: set DatasetSettings.decimal = ',' or '.'"
        )
        return None
    kind = "prices" if found.currency else "numbers"
    report.note(
        f"{path}: column {name!r} holds {kind} such as {example!r}: read as {found.numbers.drop_nulls()[0]:.12g}"
    )
    return found.numbers


def _may_be_thousands(values: pl.Series, numbers: pl.Series) -> bool:
    """Returns whether several numbers have three decimals, and all others none."""
    if not numbers.dtype.is_float():
        return False
    has_point = values.str.contains(".", literal=True).fill_null(value=False)
    pointed = values.filter(has_point)
    return 1 < len(pointed) < len(values) - values.null_count() and pointed.str.contains(THREE_DECIMALS).all()


def without_missing(column: pl.Series) -> pl.Series:
    """Removes spaces around texts, and replaces texts that mean a missing value, such as "" or "N/A", by null."""
    stripped = column.str.strip_chars()
    is_missing = stripped.str.to_lowercase().is_in(MISSING_TEXTS)
    return stripped.to_frame().select(pl.when(~is_missing).then(stripped).alias(column.name)).to_series()


def _note_odd_values(values: pl.Series, name: str, path: str, report: DataReport) -> None:
    """Says why a column that is a number, or nearly one, is text."""
    odd = values.is_not_null() & values.cast(pl.Float64, strict=False).is_null()
    present, codes = len(values) - values.null_count(), values.filter(values.str.contains(CODE_WITH_E))
    if not odd.any() and len(codes):
        report.note(
            f"{path}: column {name!r} is text, because values such as {codes[0]!r} may be codes: if they are numbers, "
            f"write {codes[0].lower().replace('e', 'e+')!r}"
        )
    if 0 < odd.sum() * VALUES_PER_ODD_ONE <= present:
        row = odd.arg_true()[0]
        report.note(
            f"{path}: column {name!r} is text, because {odd.sum()} of {present} values are not numbers, the first "
            f"{values[row]!r} (data row {row + 1})"
        )


def _numbers_or_flags(values: pl.Series, decimal: str) -> pl.Series | None:
    lower = values.str.to_lowercase()
    if lower.drop_nulls().is_in(FLAGS).all():
        return lower == "true"
    has_other_points = decimal == "," and values.str.contains(".", literal=True).any()
    if has_other_points or values.str.contains(f"{LEADING_ZERO}|{CODE_WITH_E}").any():
        return None
    for number in (pl.Int64, pl.Float64):
        numbers = values.cast(number, strict=False)
        if numbers.null_count() == values.null_count():
            if number == pl.Float64 and (numbers.is_infinite() & values.str.contains(r"\d")).any():
                return None  # a float cannot hold it
            # A long whole number is an id: a float would not keep its digits.
            too_long = number == pl.Float64 and not values.str.contains(r"[.eE]").any()
            return None if too_long else numbers
    return None


def _lists(values: pl.Series) -> pl.Series | None:
    """Returns lists of strings or of numbers; None if a text is not the text of such a list."""
    rows: list[list[Any] | None] = []
    kinds = set()
    with warnings.catch_warnings(action="ignore"):  # Python warns of a text such as ["\\d"]
        for text in values.to_list():
            row = None if text is None else _list_of(text)
            if row is None and text is not None:
                return None
            kinds |= {"text" if isinstance(value, str) else type(value).__name__ for value in row or ()}
            rows.append(row)
    if kinds <= {"text"}:
        return pl.Series(values.name, rows, dtype=pl.List(pl.String))
    if kinds <= {"int", "float"}:
        try:
            return pl.Series(values.name, [row and [float(x) for x in row] for row in rows], dtype=pl.List(pl.Float64))
        except OverflowError:  # more than 308 digits
            return None
    return None


def _list_of(text: str) -> list[Any] | None:
    """Reads a list as Python, or as numpy, which writes spaces between the values."""
    if re.search(ADJACENT_QUOTES, text):  # Python would join the two strings
        return [one or other for one, other in re.findall(QUOTED, text)]
    try:
        row = ast.literal_eval(text)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        try:
            return [float(number) for number in text[1:-1].replace(",", " ").split()]
        except ValueError:
            return None
    return row if isinstance(row, list) else None
