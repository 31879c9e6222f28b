"""Removes the lines of CSV files that have no value in the columns that are read."""

from pathlib import Path

import polars as pl

from rqrec.training.data.reading.formats import CSV, format_of, parts_of
from rqrec.training.data.report import DataReport


def without_blank_lines(rows: pl.DataFrame, path: Path, report: DataReport) -> pl.DataFrame:
    """Removes rows of a CSV file that have no value in any column. Tables of other formats are returned unchanged.

    Args:
        rows: The rows of the table.
        path: The table's file or folder.
        report: Receives a line with the number of rows that were removed.
    """
    if not any(format_of(part) == CSV for part in parts_of(path)):
        return rows
    is_blank = rows.select(pl.all_horizontal(pl.all().is_null())).to_series()
    if not is_blank.any():
        return rows
    report.note(f"{path.name}: {is_blank.sum()} lines without a value in the columns that are read are skipped")
    return rows.filter(~is_blank)
