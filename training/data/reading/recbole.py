"""Reads data sets in the format of RecBole: the files `<Name>.inter` and, if there is one, `<Name>.item`.

The header line of these files has the type of every column, such as `user_id:token` or `genre:token_seq`.
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from rqrec.training.data.columns import interaction_columns
from rqrec.training.data.compact.distinct_texts import encoded
from rqrec.training.data.compact.plain_integers import with_integers
from rqrec.training.data.dataset import ITEM_ID, RATING, TEXTS_OF_LOG, TIMESTAMP, DataError, RawTables
from rqrec.training.data.feedback.unused_returns import warn_of_unused_returns
from rqrec.training.data.reading.blank_lines import without_blank_lines
from rqrec.training.data.reading.formats import collect, require_full_lines, scan_table
from rqrec.training.data.reading.item_columns import item_columns
from rqrec.training.data.reading.names import (
    INTERACTIONS,
    ITEMS,
    read_of_log,
    require_mapped,
    require_names,
    resolve_names,
)
from rqrec.training.data.reading.unused_times import warn_of_unused_times
from rqrec.training.data.report import DataReport
from rqrec.training.data.settings import DatasetSettings

TYPES = ("token", "float", "token_seq", "float_seq")
SEQUENCE_SEPARATOR = " "
VALUES = "values"


def read_recbole(folder: Path, settings: DatasetSettings, report: DataReport) -> RawTables:
    """Reads a RecBole data set: a folder with one `.inter` file (interactions) and at most one `.item` file (items).

    Args:
        folder: Folder of the files.
        settings: How the files are read, and which columns hold the ids.
        report: Receives a line about the columns that are not used.

    Raises:
        DataError: If there is no `.inter` file, there are several files of one kind, or a column is missing, is there
            twice, has an unknown type, or holds a text that is no number.
    """
    log, catalogue = _only(folder, "inter"), _only(folder, "item")
    if log is None:
        raise DataError(f"expected one .inter file in {folder}, found none: add it")
    frame = scan_table(log, settings, report)
    full_names = frame.collect_schema().names()
    typed = dict(zip(_short_names(full_names, log), full_names, strict=True))
    tables = {INTERACTIONS: list(typed)}
    text = None
    if catalogue is not None:
        text = collect(scan_table(catalogue, settings, report), catalogue, settings)
        require_full_lines(catalogue, settings, report)
        tables[ITEMS] = _short_names(text.columns, catalogue)
    require_mapped(settings.columns, tables, str(folder))
    names = resolve_names(tables[INTERACTIONS], INTERACTIONS, settings.columns, path=log.name, report=report)
    require_names(names, INTERACTIONS, tables[INTERACTIONS], settings.columns, path=log.name)
    used = {standard: typed[name] for standard, name in read_of_log(names, settings).items()}
    if unused := [name for name, full in typed.items() if full not in used.values()]:
        report.note(f"{log.name}: columns not used: {', '.join(map(repr, unused))}")
    selected = frame.select(pl.col(full).alias(name) for name, full in used.items())
    rows = collect(encoded(selected, TEXTS_OF_LOG), log, settings)
    rows = rows if settings.timestamp_format else with_integers(rows, TIMESTAMP)
    interactions = without_blank_lines(rows, log, report)
    require_full_lines(log, settings, report)
    if unused and TIMESTAMP not in names:
        warn_of_unused_times(frame, {name: typed[name] for name in unused}, log, settings, report)
    if unused and RATING not in names:
        warn_of_unused_returns(frame, {name: typed[name] for name in unused}, log, settings, report)
    short = {name: full.partition(":")[0] for name, full in used.items()}
    report.columns += interaction_columns(interactions, short, tables[INTERACTIONS])
    items = None if catalogue is None or text is None else _items(text, catalogue, settings, report)
    return RawTables(interactions.lazy(), items, log.name, catalogue.name if catalogue else ITEMS)


def _only(folder: Path, kind: str) -> Path | None:
    found = sorted(path for path in folder.iterdir() if path.suffix.lower() == f".{kind}")
    if len(found) > 1:
        raise DataError(f"expected one .{kind} file in {folder}, found {[path.name for path in found]}: keep one")
    return found[0] if found else None


def _short_names(columns: Sequence[str], path: Path) -> list[str]:
    """Returns the names of columns without their types."""
    names = [column.partition(":")[0] for column in columns]
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        raise DataError(f"{path.name}, line 1: column {twice[0]!r} is there twice: rename one of the two")
    return names


def _items(text: pl.DataFrame, path: Path, settings: DatasetSettings, report: DataReport) -> pl.DataFrame:
    rows = without_blank_lines(text, path, report)
    written = dict(zip(_short_names(text.columns, path), rows, strict=True))
    names = item_columns(list(written), settings, path=path.name, report=report)
    return pl.DataFrame([_typed(written[name], in_training, path) for name, in_training in names.items()])


def _typed(column: pl.Series, name: str, path: Path) -> pl.Series:
    kind = column.name.partition(":")[2]
    values = column.alias(VALUES)  # a plain name, because polars reads names such as "*" as patterns
    if kind == "token" or name == ITEM_ID:
        return values.alias(name)
    if kind not in TYPES:
        raise DataError(f"{path.name}, line 1: column {name!r} must have one of the types {TYPES}, got {kind!r}")
    if kind == "float":
        numbers = values.cast(pl.Float64, strict=False)
        wrong = numbers.is_null() & values.is_not_null()
    else:
        numbers = values.str.split(SEQUENCE_SEPARATOR).list.eval(pl.element().filter(pl.element() != ""))
        if kind == "token_seq":
            return numbers.alias(name)
        numbers = numbers.cast(pl.List(pl.Float64), strict=False)
        wrong = numbers.list.eval(pl.element().is_null()).list.any().fill_null(value=False)
    if wrong.any():
        row = wrong.arg_true()[0]
        raise DataError(
            f"{path.name}, data row {row + 1}: column {name!r} must hold numbers, got {values[row][:40]!r}: correct "
            "the value"
        )
    return numbers.alias(name)
