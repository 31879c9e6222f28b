"""Warns if a column of the interactions that is not read has negative numbers, which may mean returned items."""

import re
from collections.abc import Mapping
from pathlib import Path

import polars as pl

from rqrec.training.data.dataset import RATING
from rqrec.training.data.reading.formats import collect
from rqrec.training.data.reading.names import columns_option
from rqrec.training.data.reading.nested import select_paths
from rqrec.training.data.report import DataReport
from rqrec.training.data.settings import DatasetSettings

ROWS_LOOKED_AT = 2000
MOST_NEGATIVE = 0.5  # share of the rows; more than this are no returns
PLACES = r"(?i)lat|lon|lng"  # latitudes and longitudes may be negative


def warn_of_unused_returns(
    frame: pl.LazyFrame, unused: Mapping[str, str], path: Path, settings: DatasetSettings, report: DataReport
) -> None:
    """Adds a warning to the report if a column that is not read has negative numbers, such as a quantity of -1.

    Call it if no column was found to be the rating. Such rows may be returns, which training then reads like purchases.

    Args:
        frame: The interactions, a lazy table. The columns whose first 2,000 values are numbers are read in full.
        unused: The columns that are not read: for each name to show to the user, the path of the column in `frame`.
            The warning names the first column with negative numbers. Fields of objects are not looked at.
        path: The interactions file, for messages.
        settings: The names of columns, and how CSV files are read.
        report: Receives the warning.
    """
    schema = frame.collect_schema()
    plain = {name: column for name, column in unused.items() if column in schema}
    first = collect(select_paths(frame.head(ROWS_LOOKED_AT), plain), path, settings)
    numbers = {column.name: plain[column.name] for column in first.iter_columns() if _has_numbers(column)}
    if not numbers:
        return
    values = select_paths(frame, numbers).select(pl.all().cast(pl.Float64, strict=False) < 0)
    for is_negative in collect(values, path, settings).iter_columns():
        count, name = is_negative.sum(), is_negative.name
        if 0 < count < MOST_NEGATIVE * len(is_negative):
            report.note(
                f"WARNING: {path.name}: no column is read as {RATING}, but {name!r} has {count:,} negative values: if "
                "these are returns, make them dislikes by "
                f"{columns_option(settings.columns, {RATING: name})}"
            )
            return


def _has_numbers(values: pl.Series) -> bool:
    """Returns whether all values are numbers or missing. Texts such as "" count as missing."""
    if re.search(PLACES, values.name):
        return False
    values = values.alias("values")  # polars reads names such as "^a$" as patterns
    if values.dtype == pl.String:
        present = values.filter(values.str.strip_chars() != "")
        return len(present) > 0 and not present.cast(pl.Float64, strict=False).null_count()
    return values.dtype.is_numeric()
