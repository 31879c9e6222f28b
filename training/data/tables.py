"""Reads a user's own data: an interactions table and an items table, as Parquet, CSV or JSON lines."""

from collections.abc import Callable
from pathlib import Path

import polars as pl

from rqrec.training.data.dataset import DataError, require_columns

READERS: dict[str, Callable[[Path], pl.LazyFrame]] = {
    ".parquet": pl.scan_parquet,
    ".csv": lambda path: pl.scan_csv(path, infer_schema_length=None),
    ".jsonl": lambda path: pl.scan_ndjson(path, infer_schema_length=None),
}


def read_tables(folder: Path) -> tuple[pl.LazyFrame, pl.DataFrame]:
    """Reads `interactions` (user_id, item_id, timestamp[, rating]) and `items` (item_id, any attributes) of a folder.

    Lists of numbers of one length become vectors. In CSV, a column whose name ends in `[]`, such as `genres[]`, holds
    lists of strings with `|` between them.

    Args:
        folder: Folder of the two tables.

    Raises:
        DataError: If a table is missing, exists in two formats, lacks a column or cannot be read.
    """
    interactions_path, items_path = find_table(folder, "interactions"), find_table(folder, "items")
    interactions = READERS[interactions_path.suffix](interactions_path)
    try:
        columns = interactions.collect_schema().names()
        items = READERS[items_path.suffix](items_path).collect()
    except pl.exceptions.PolarsError as error:
        raise DataError(f"cannot read {interactions_path.name} or {items_path.name} in {folder}: {error}") from error
    require_columns(columns, ["user_id", "item_id", "timestamp"], path=interactions_path)
    require_columns(items.columns, ["item_id"], path=items_path)
    return interactions.select("user_id", "item_id", "timestamp"), _with_lists_and_vectors(items, items_path)


def find_table(folder: Path, name: str) -> Path:
    """Returns the only file of that name, in any of the formats.

    Args:
        folder: The folder to look in.
        name: The file's name without its suffix.

    Raises:
        DataError: If there is none, or more than one.
    """
    found = [folder / f"{name}{suffix}" for suffix in READERS if (folder / f"{name}{suffix}").is_file()]
    if len(found) != 1:
        raise DataError(
            f"expected one of {[f'{name}{suffix}' for suffix in READERS]} in {folder}, "
            f"found {[path.name for path in found]}"
        )
    return found[0]


def _with_lists_and_vectors(items: pl.DataFrame, path: Path) -> pl.DataFrame:
    columns = []
    for name, dtype in items.schema.items():
        column = items[name]
        if dtype == pl.String and name.endswith("[]"):
            columns.append(column.str.split("|").alias(name.removesuffix("[]")))
        elif isinstance(dtype, pl.List) and dtype.inner.is_numeric():
            widths = column.drop_nulls().list.len().unique()
            if len(widths) != 1:
                raise DataError(
                    f"vectors in column {name!r} of {path} must have the same length, got lengths {widths.to_list()}"
                )
            columns.append(column.cast(pl.Array(pl.Float32, widths[0])))
        else:
            columns.append(column)
    return pl.DataFrame(columns)
