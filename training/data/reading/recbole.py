"""Reads RecBole's atomic files: `<Name>.inter` and, if there is one, `<Name>.item`.

Their header has the type of every column, such as `user_id:token` or `genre:token_seq`.
"""

from pathlib import Path

import polars as pl

from rqrec.training.data.dataset import ITEM_ID, TIMESTAMP, USER_ID, DataError, RawTables, require_columns
from rqrec.training.data.reading.formats import collect, scan_table
from rqrec.training.data.report import DataReport
from rqrec.training.data.settings import DatasetSettings

TYPES = ("token", "float", "token_seq", "float_seq")
SEQUENCE_SEPARATOR = " "


def read_recbole(folder: Path, settings: DatasetSettings, report: DataReport) -> RawTables:
    """Reads a folder with one `.inter` file and at most one `.item` file.

    Args:
        folder: Folder of the files.
        settings: How the files are read.
        report: Receives the columns that are not used.

    Raises:
        DataError: If there are several files of a kind, a type does not exist, or a column is missing.
    """
    log, catalogue = _only(folder, "inter"), _only(folder, "item")
    if log is None:
        raise DataError(f"expected one .inter file in {folder}, found none: add it")
    frame = scan_table(log, settings, report)
    names = {name.partition(":")[0]: name for name in frame.collect_schema().names()}
    require_columns(list(names), [USER_ID, ITEM_ID], path=log.name)
    used = [name for name in (USER_ID, ITEM_ID, TIMESTAMP) if name in names]
    if unused := [name for name in names if name not in used]:
        report.note(f"{log.name}: columns not used: {', '.join(map(repr, unused))}")
    interactions = collect(frame.select(pl.col(names[name]).alias(name) for name in used), log, settings)
    if catalogue is None:
        return RawTables(interactions.lazy(), None, log.name, "items")
    text = collect(scan_table(catalogue, settings, report), catalogue, settings)
    items = pl.DataFrame([_typed(column, catalogue) for column in text])
    return RawTables(interactions.lazy(), items, log.name, catalogue.name)


def _only(folder: Path, kind: str) -> Path | None:
    found = sorted(folder.glob(f"*.{kind}"))
    if len(found) > 1:
        raise DataError(f"expected one .{kind} file in {folder}, found {[path.name for path in found]}: keep one")
    return found[0] if found else None


def _typed(column: pl.Series, path: Path) -> pl.Series:
    name, _, kind = column.name.partition(":")
    values = column.alias(name)
    if kind == "token" or name == ITEM_ID:
        return values
    if kind not in TYPES:
        raise DataError(f"{path.name}, line 1: column {name!r} must have one of the types {TYPES}, got {kind!r}")
    try:
        if kind == "float":
            return values.cast(pl.Float64)
        lists = values.str.split(SEQUENCE_SEPARATOR)
        return lists if kind == "token_seq" else lists.cast(pl.List(pl.Float64))
    except pl.exceptions.PolarsError as error:
        reason = str(error).splitlines()[0]
        raise DataError(f"{path.name}: column {name!r} must hold numbers: {reason}: correct the values") from error
