"""Finds the file of a table by its name, and reads it in the format that its suffix says, such as .csv."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

import polars as pl

from rqrec.training.data.dataset import DataError
from rqrec.training.data.reading.csv_text import (
    detect_encoding,
    first_separator,
    line_with_other_fields,
    open_binary,
    scan_csv,
)
from rqrec.training.data.report import DataReport
from rqrec.training.data.settings import DatasetSettings

CSV, JSON, PARQUET = "csv", "json", "parquet"
FORMATS = {
    ".parquet": PARQUET,
    ".pq": PARQUET,
    ".csv": CSV,
    ".tsv": CSV,
    ".dat": CSV,
    ".txt": CSV,
    ".jsonl": JSON,
    ".ndjson": JSON,
    ".json": JSON,
    ".inter": CSV,  # RecBole's atomic files
    ".item": CSV,
}
COMPRESSIONS = (".gz", ".zst")
EXAMPLE_SUFFIXES = ".parquet, .csv, .tsv, .jsonl, .ndjson, .json, also with .gz or .zst"


def format_of(path: Path) -> str | None:
    """Returns the format of a table file by its suffix: "csv", "json" or "parquet"; None for any other suffix.

    Upper and lower case are equal. A last suffix .gz or .zst is ignored, so `items.csv.gz` is "csv".
    """
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] in COMPRESSIONS:
        suffixes.pop()
    return FORMATS.get(suffixes[-1]) if suffixes else None


def find_table(folder: Path, name: str, *, chosen: str = "") -> Path | None:
    """Finds the file of a table, such as `items.csv`. A folder of several files, such as `items/`, is found as well.

    Args:
        folder: The folder to look in.
        name: The table: "interactions" or "items". Without `chosen`, its file has this name and any supported suffix.
        chosen: The file's name according to the settings; empty if the settings name no file.

    Returns:
        The path of the file or folder; None if `chosen` is empty and no file of the table exists.

    Raises:
        DataError: If the chosen file does not exist, or if there are several files of the table.
    """
    if chosen:
        path = folder / chosen
        if not parts_of(path):
            raise DataError(
                f"DatasetSettings.{name} must name a file or folder of tables ({EXAMPLE_SUFFIXES}) in {folder}, got "
                f"{chosen!r}"
            )
        return path
    named = [path for path in sorted(folder.iterdir()) if path.name.partition(".")[0].lower() == name]
    found = [path for path in named if parts_of(path)]
    if len(found) > 1:
        raise DataError(
            f"expected one file of {name} in {folder}, found {[path.name for path in found]}: keep one, or set "
            f"DatasetSettings.{name} = {found[0].name!r}"
        )
    return found[0] if found else None


def parts_of(path: Path) -> list[Path]:
    """Returns the files of a table: the path itself if it is a file, or all table files below a folder, sorted.

    The list is empty if the path does not exist or is not a table.
    """
    if path.is_dir():
        return sorted(part for part in path.rglob("*") if part.is_file() and format_of(part))
    return [path] if path.is_file() and format_of(path) else []


def scan_table(path: Path, settings: DatasetSettings, report: DataReport) -> pl.LazyFrame:
    """Opens a table as a lazy table. All columns of CSV files are text.

    Args:
        path: A file, or a folder of files with the same columns.
        settings: How CSV files are read.
        report: Receives a line about what was detected, such as the encoding.

    Raises:
        DataError: If a file cannot be read in the format that its suffix says.
    """
    parts = parts_of(path)
    frames = []
    for part in parts:
        try:
            frame = _scan_file(part, settings, report)
            frame.collect_schema()
        except DataError:
            raise
        except (pl.exceptions.PolarsError, EOFError, OSError, ValueError) as error:
            raise explained(error, part, settings) from error
        frames.append(frame)
    return frames[0] if len(frames) == 1 else pl.concat(frames, how="diagonal_relaxed")


def collect(frame: pl.LazyFrame, path: Path, settings: DatasetSettings) -> pl.DataFrame:
    """Reads all rows of a lazy table. An error of polars becomes a `DataError`.

    Args:
        frame: The lazy table, from `scan_table`.
        path: The table's file or folder, for messages.
        settings: How CSV files are read.

    Raises:
        DataError: If a line is malformed. The message names the file and, if it can be found, the line.
    """
    try:
        return frame.collect(engine="streaming")
    except pl.exceptions.PolarsError as error:
        for part in parts_of(path):
            if located := _located(str(error), part, settings):
                raise located from error
        raise explained(error, path, settings) from error


def explained(error: Exception, path: Path, settings: DatasetSettings) -> DataError:
    """Converts an error to a `DataError` with a one-line message: the file, the reason and, if found, the bad line.

    Args:
        error: The error that was raised when the file was read.
        path: The file.
        settings: How CSV files are read.
    """
    if isinstance(error, pl.exceptions.NoDataError):
        return DataError(f"{path.name} is empty: write a line with the names of the columns, then the rows")
    reason = (str(error).strip() or type(error).__name__).splitlines()[0]
    return _located(reason, path, settings) or DataError(
        f"cannot read {path.name} as {format_of(path)}: {reason}: correct the file, or give it the suffix of its format"
    )


def require_full_lines(path: Path, settings: DatasetSettings) -> None:
    """Checks that every line of CSV files has as many fields as the header.

    Polars does not check this: it fills missing fields with nulls.

    Args:
        path: A file or a folder of files. Files in UTF-16 are not checked.
        settings: How CSV files are read.

    Raises:
        DataError: If a line has another number of fields. The message names the line.
    """
    for part in parts_of(path):
        encoding = settings.encoding or detect_encoding(part)
        if not encoding.lower().startswith("utf-16") and (fault := _wrong_line(part, settings)):
            raise fault


def _located(reason: str, path: Path, settings: DatasetSettings) -> DataError | None:
    """Looks for the place of a fault that polars reports without its line."""
    kind = format_of(path)
    if kind == CSV and "more fields" in reason:
        return _wrong_line(path, settings)
    if kind == CSV and reason.startswith("could not parse") and '"' in reason:
        return DataError(f"{path.name}: a quote is not closed: close it, or set DatasetSettings.quotes = False")
    place = _bad_json_line(path) if kind == JSON else None
    return DataError(f"{path.name}, {place}: correct the line") if place else None


def _wrong_line(path: Path, settings: DatasetSettings) -> DataError | None:
    separator = settings.separator or first_separator(path)
    place = line_with_other_fields(path, separator, quotes=settings.quotes)
    if place is None:
        return None
    line, fields, expected = place
    return DataError(
        f"{path.name}, line {line}: expected {expected} fields with {separator!r} between them, got {fields}: correct "
        f"the line, or write quotes around a value that holds {separator!r}"
    )


def _scan_file(path: Path, settings: DatasetSettings, report: DataReport) -> pl.LazyFrame:
    kind = format_of(path)
    if kind == PARQUET:
        return pl.scan_parquet(path, hive_partitioning=False)
    if kind == CSV:
        frame = scan_csv(path, settings, report)
        _require_distinct(frame.collect_schema().names(), path)
        return frame
    with open_binary(path) as file:
        if _is_array(file):
            return pl.read_json(file.read(), infer_schema_length=None).lazy()
    return pl.scan_ndjson(path, infer_schema_length=None)


def _is_array(file: BinaryIO) -> bool:
    """Returns whether a JSON file begins with an array, and goes back to its beginning."""
    start = file.read(64).lstrip()
    file.seek(0)
    return start.startswith(b"[")


def _require_distinct(columns: Sequence[str], path: Path) -> None:
    for name in columns:
        original = name.partition("_duplicated_")[0]
        if "_duplicated_" in name and original in columns:
            raise DataError(f"{path.name}, line 1: column {original!r} is there twice: rename one of the two")


def _bad_json_line(path: Path) -> str | None:
    if path.suffix.lower() == ".zst":
        return None
    with open_binary(path) as file:
        if _is_array(file):
            try:
                json.load(file, parse_constant=_refuse_constant)
            except ValueError as error:
                return f"expected an array of JSON objects, got an error: {error}"
            return None
        for number, line in enumerate(file, start=1):
            try:
                if line.strip() and not isinstance(json.loads(line, parse_constant=_refuse_constant), dict):
                    return f"line {number}: expected a JSON object, got {line[:40].decode(errors='replace')!r}"
            except ValueError as error:
                return f"line {number}: expected a JSON object, got an error: {error}"
    return None


def _refuse_constant(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON, write null")
