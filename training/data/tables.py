"""Reads a user's own data: an interactions table and, if there is one, an items table, in any supported format."""

from pathlib import Path

import polars as pl

from rqrec.training.data.columns import interaction_columns
from rqrec.training.data.compact.distinct_texts import encoded
from rqrec.training.data.compact.plain_integers import with_integers
from rqrec.training.data.dataset import ITEM_ID, RATING, TEXTS_OF_LOG, TIMESTAMP, DataError, RawTables
from rqrec.training.data.feedback.unused_returns import warn_of_unused_returns
from rqrec.training.data.reading.blank_lines import without_blank_lines
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
from rqrec.training.data.reading.item_columns import ROW_NUMBERS, item_columns
from rqrec.training.data.reading.names import (
    INTERACTIONS,
    ITEMS,
    read_of_log,
    require_mapped,
    require_names,
    resolve_names,
)
from rqrec.training.data.reading.nested import exactly, explodes, in_fixed_order, leaf_paths, root_of, select_paths
from rqrec.training.data.reading.typed_text import typed_texts
from rqrec.training.data.reading.unused_times import warn_of_unused_times
from rqrec.training.data.report import DataReport
from rqrec.training.data.settings import DatasetSettings


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
    lists = {root_of(schema, one) for one in used.values() if explodes(schema, one)}
    if len(lists) > 1:
        raise DataError(
            f"{path.name}: DatasetSettings.columns must read fields of one list of objects, but reads fields of "
            f"{sorted(lists)}, whose objects do not belong together: name fields of one of them"
        )
    read = collect(encoded(select_paths(frame, used), TEXTS_OF_LOG), path, settings)
    read = read if settings.timestamp_format else with_integers(read, TIMESTAMP)
    rows = without_blank_lines(read, path, report)
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
    names = item_columns(list(schema), settings, path=path.name, report=report, fields=leaf_paths(schema))
    selected = frame.select(pl.col(exactly(name)).alias(in_training) for name, in_training in names.items())
    items = without_blank_lines(collect(selected, path, settings), path, report)
    require_full_lines(path, settings, report)
    from_csv = all(format_of(part) == CSV for part in parts_of(path))
    return typed_texts(items, path=path.name, from_csv=from_csv, report=report, decimal=settings.decimal)
