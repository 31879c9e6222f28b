"""Reads a user's own data: an interactions table and, if there is one, an items table, in any supported format."""

from pathlib import Path

import polars as pl

from rqrec.training.data.columns import NOT_USED, Column, interaction_columns
from rqrec.training.data.dataset import ITEM_ID, RATING, TIMESTAMP, DataError, RawTables
from rqrec.training.data.feedback.unused_returns import warn_of_unused_returns
from rqrec.training.data.reading.formats import (
    CSV,
    EXAMPLE_SUFFIXES,
    JSON,
    collect,
    find_table,
    format_of,
    parts_of,
    require_full_lines,
    scan_table,
)
from rqrec.training.data.reading.names import (
    INTERACTIONS,
    ITEMS,
    read_of_log,
    require_mapped,
    require_names,
    resolve_names,
)
from rqrec.training.data.reading.nested import exactly, explodes, in_fixed_order, leaf_paths, select_paths
from rqrec.training.data.reading.typed_text import typed_texts
from rqrec.training.data.reading.unused_times import warn_of_unused_times
from rqrec.training.data.report import DataReport
from rqrec.training.data.settings import DatasetSettings

ROW_NUMBERS = ("", "Unnamed: 0", "__index_level_0__")  # pandas writes the numbers of rows under these names
IGNORED = "not read, by DatasetSettings.ignored_columns"


def read_tables(folder: Path, settings: DatasetSettings, report: DataReport) -> RawTables:
    """Reads the two tables of a folder: `interactions` (user_id, item_id) and, if there is one, `items` (item_id).

    Interactions may also have timestamp, rating and event_type; items may have any attributes. An attribute of text
    whose name ends in `[]`, such as `genres[]`, is split into a list of strings (see `typed_texts`).

    Args:
        folder: Folder of the two tables, for example with interactions.csv and items.jsonl.
        settings: The names of files and columns, and how CSV files are read.
        report: Receives a line for everything that was detected or dropped.

    Raises:
        DataError: If there is no interactions table, a table has two files, lacks an id column or cannot be read.
    """
    log = find_table(folder, INTERACTIONS, chosen=settings.interactions)
    if log is None:
        raise DataError(
            f"expected a file of interactions ({EXAMPLE_SUFFIXES}) in {folder}, found none: name it interactions.*, or "
            "set DatasetSettings.interactions"
        )
    catalogue = find_table(folder, ITEMS, chosen=settings.items)
    frames = {INTERACTIONS: _scan(log, settings, report)}
    if catalogue is not None:
        frames[ITEMS] = _scan(catalogue, settings, report)
    columns = {table: frame.collect_schema().names() for table, frame in frames.items()}
    columns[INTERACTIONS] = leaf_paths(frames[INTERACTIONS].collect_schema())
    require_mapped(settings.columns, columns, str(folder))
    interactions = _interactions(frames[INTERACTIONS], log, settings, report)
    if catalogue is None:
        return RawTables(interactions, None, log.name, ITEMS)
    items = _items(frames[ITEMS], catalogue, settings, report)
    return RawTables(interactions, items, log.name, catalogue.name)


def _scan(path: Path, settings: DatasetSettings, report: DataReport) -> pl.LazyFrame:
    """Opens a table whose columns have the same order in every process."""
    frame = scan_table(path, settings, report)
    if not any(format_of(part) == JSON for part in parts_of(path)):
        return frame
    return frame.select(pl.col(exactly(name)) for name in in_fixed_order(frame.collect_schema().names()))


def _interactions(frame: pl.LazyFrame, path: Path, settings: DatasetSettings, report: DataReport) -> pl.LazyFrame:
    schema = frame.collect_schema()
    columns = leaf_paths(schema)
    names = resolve_names(columns, INTERACTIONS, settings.columns, path=path.name, report=report)
    require_names(names, INTERACTIONS, columns, settings.columns, path=path.name)
    used = read_of_log(names, settings)
    unused = [column for column in columns if column not in {*used.values(), *ROW_NUMBERS}]
    if unused:
        report.note(f"{path.name}: columns not used: {', '.join(map(repr, unused))}")
    rows = _without_blank_lines(collect(select_paths(frame, used), path, settings), path, report)
    require_full_lines(path, settings, report)
    if explodes(schema, used[ITEM_ID]):
        empty = int(rows[ITEM_ID].null_count())
        if empty:
            report.note(f"{path.name}: {empty} events dropped, because they name no item")
        rows = rows.drop_nulls(ITEM_ID)
    if unused and TIMESTAMP not in names:
        warn_of_unused_times(frame, {name: name for name in unused}, path, settings, report)
    if unused and RATING not in names:
        warn_of_unused_returns(frame, {name: name for name in unused}, path, settings, report)
    report.columns += interaction_columns(rows, used, columns)
    return rows.lazy()


def _items(frame: pl.LazyFrame, path: Path, settings: DatasetSettings, report: DataReport) -> pl.DataFrame:
    schema = frame.collect_schema()
    if strange := [name for name in settings.ignored_columns if name not in {*schema, *leaf_paths(schema)}]:
        raise DataError(
            f"{path.name} must have the columns of DatasetSettings.ignored_columns, but {strange} are missing: it has "
            f"{leaf_paths(schema)}"
        )
    has_rows = [name for name in schema if name in ROW_NUMBERS]
    if has_rows:
        report.note(f"{path.name}: columns {has_rows} are not read, because they hold the numbers of the rows")
    report.columns += [Column(ITEMS, name, NOT_USED, "the numbers of the rows") for name in has_rows]
    report.columns += [Column(ITEMS, name, NOT_USED, IGNORED) for name in settings.ignored_columns]
    not_read = {*has_rows, *settings.ignored_columns}
    columns = [name for name in schema if name not in not_read]
    names = resolve_names(columns, ITEMS, settings.columns, path=path.name, report=report)
    require_names(names, ITEMS, columns, settings.columns, path=path.name)
    renamed = {name: standard for standard, name in names.items()}
    taken = [name for name in columns if name in names and name not in renamed]
    if taken:
        raise DataError(
            f"{path.name}: DatasetSettings.columns reads {taken[0]} from {names[taken[0]]!r}, but there is a column "
            f"{taken[0]!r} as well: add it to DatasetSettings.ignored_columns"
        )
    selected = frame.select(pl.col(exactly(name)).alias(renamed.get(name, name)) for name in columns)
    items = _without_blank_lines(collect(selected, path, settings), path, report)
    require_full_lines(path, settings, report)
    from_csv = all(format_of(part) == CSV for part in parts_of(path))
    return typed_texts(items, path=path.name, from_csv=from_csv, report=report, decimal=settings.decimal)


def _without_blank_lines(rows: pl.DataFrame, path: Path, report: DataReport) -> pl.DataFrame:
    if not any(format_of(part) == CSV for part in parts_of(path)):
        return rows
    is_blank = rows.select(pl.all_horizontal(pl.all().is_null())).to_series()
    if not is_blank.any():
        return rows
    report.note(f"{path.name}: {is_blank.sum()} lines without a value in the columns that are read are skipped")
    return rows.filter(~is_blank)
