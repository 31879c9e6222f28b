"""Checks that every line of a CSV file has as many fields as the header, and finds quotes that are not closed.

Polars fills missing fields with nulls. It ignores surplus fields unless all columns are read.
"""

import csv
import sys
from pathlib import Path

import polars as pl

from rqrec.training.data.dataset import DataError
from rqrec.training.data.reading.csv_text import CsvSource, csv_source
from rqrec.training.data.report import DataReport
from rqrec.training.data.settings import DatasetSettings

QUOTE = '"'
QUOTED = r'"[^"]*"'


def check_full_lines(path: Path, settings: DatasetSettings, report: DataReport | None = None) -> None:
    """Checks that every line of a CSV file has as many fields as the header. Empty lines do not count.

    Args:
        path: The file.
        settings: How CSV files are read.
        report: Receives a line if values in quotes contain line breaks, because a quote that is part of a value can
            join rows; None if no report is needed.

    Raises:
        DataError: If a line has another number of fields, or a quote is not closed. The message names the line.
    """
    source = csv_source(path, settings)
    if not _all_lines_are_full(source, quotes=settings.quotes):
        num_joined = _check_each_row(source, path, quotes=settings.quotes)
        if report and num_joined:
            report.note(
                f"{path.name}: {num_joined} rows have several lines, because a value in quotes contains line breaks: "
                "if quotes do not enclose values, set DatasetSettings.quotes = False"
            )


def _all_lines_are_full(source: CsvSource, *, quotes: bool) -> bool:
    """Counts separators in each line, which is fast. Returns False also if rows may have several lines."""
    line = pl.first()
    fewest, most, has_quotes = _totals(source, line, line.str.contains(QUOTE, literal=True))
    if quotes and has_quotes:
        is_open = line.str.count_matches(QUOTE, literal=True) % 2 == 1
        fewest, most, has_open = _totals(source, line.str.replace_all(QUOTED, ""), is_open)
        return fewest == most and not has_open
    return fewest == most


def _totals(source: CsvSource, line: pl.Expr, condition: pl.Expr) -> tuple[int, int, bool]:
    """Returns the fewest and the most separators of a line, and whether a line meets a condition."""
    separators = line.str.count_matches(source.separator, literal=True)
    totals = source.lines().select(
        separators.min().alias("fewest"), separators.max().alias("most"), condition.any().alias("meets")
    )
    fewest, most, meets = totals.collect(engine="streaming").row(0)
    return fewest, most, meets


def _check_each_row(source: CsvSource, path: Path, *, quotes: bool) -> int:
    """Checks every row, and returns how many rows have several lines."""
    csv.field_size_limit(sys.maxsize)
    # `csv` stops at a carriage return in a line, which polars reads as any other character.
    lines = source.lines().collect().to_series().fill_null("").str.replace_all("\r", " ", literal=True)
    rows = csv.reader(
        (f"{line}\n" for line in lines),
        delimiter=source.separator,
        quoting=csv.QUOTE_MINIMAL if quotes else csv.QUOTE_NONE,
    )
    start, expected, num_joined = 1, 0, 0
    for row in rows:
        place = f"{path.name}, line {start + source.skipped_lines}"
        if row and row[-1].endswith("\n") and rows.line_num == len(lines):
            raise DataError(f"{place}: a quote is not closed: close it, or set DatasetSettings.quotes = False")
        expected = expected or len(row)
        if row and len(row) != expected:
            raise DataError(
                f"{place}: expected {expected} fields with {source.separator!r} between them, got {len(row)}: correct "
                f"the line, or write quotes around a value that holds {source.separator!r}"
            )
        num_joined += rows.line_num > start
        start = rows.line_num + 1
    return num_joined
