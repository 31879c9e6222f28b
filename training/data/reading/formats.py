"""Finds the file of a table by its name, and reads it in the format that its suffix says, such as .csv."""

import codecs
import io
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

import polars as pl

from rqrec.models.visible_files import visible_files
from rqrec.training.data.dataset import DataError
from rqrec.training.data.reading.csv_text import CsvSource, open_binary, scan_csv
from rqrec.training.data.reading.full_lines import check_full_lines
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
PATTERN_SIGNS = frozenset("*?[")
MALFORMED = ("more fields", "could not parse", "CSV malformed")  # words of polars
EXAMPLE_SUFFIXES = ".parquet; .csv, .tsv, .jsonl, .ndjson, .json, also with .gz or .zst"


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
    """Returns the files of a table: the path itself if it is a file, or all table files below a folder, by their names.

    Numbers in names count as numbers, so `part-10.csv` follows `part-9.csv`. Links are followed. Hidden files and files
    in hidden folders do not count: their names begin with a point. The list is empty if the path does not exist or is
    not a table.

    Args:
        path: The file or folder.

    Raises:
        DataError: If a file is a link whose target is missing, for example because a disk is not mounted.
    """
    parts = sorted(visible_files(path, hidden="."), key=_natural_order) if path.is_dir() else [path]
    parts = [part for part in parts if format_of(part)]
    for part in parts:
        if part.is_symlink() and not part.exists():
            raise DataError(f"{part} is a link to {part.readlink()}, which is missing: correct or remove the link")
    return [part for part in parts if part.is_file()]


def _natural_order(path: Path) -> list[str | int]:
    """Returns what sorts paths by name with numbers as numbers: texts and numbers in turn."""
    return [int(piece) if number % 2 else piece for number, piece in enumerate(re.split("([0-9]+)", str(path)))]


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
    if len(frames) == 1:
        return frames[0]
    _compare_columns(dict(zip(parts, frames, strict=True)), report)
    return pl.concat(frames, how="diagonal_relaxed")


def _compare_columns(frames: Mapping[Path, pl.LazyFrame], report: DataReport) -> None:
    """Refuses a part that lacks a column of the first part, and notes columns that the first part lacks.

    A JSON file may lack columns: an object may leave out a field.
    """
    columns = {part: frame.collect_schema().names() for part, frame in frames.items()}
    first, expected = next(iter(columns.items()))
    for part, names in columns.items():
        if format_of(part) == JSON:
            continue
        if missing := [name for name in expected if name not in names]:
            raise DataError(
                f"{part.name}: expected the columns of {first.name}, {expected}, but {missing} are missing: it has "
                f"{names}: give all files in {part.parent.name} the same columns"
            )
        if added := [name for name in names if name not in expected]:
            report.note(f"{part.name} has the columns {added}, which {first.name} does not have: they are empty there")


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
    if path.suffix.lower() == ".zst" and "utf-8" in reason:
        return DataError(f"{path.name} must be UTF-8, because it is a .zst file, but is not: decompress the file")
    return _located(reason, path, settings) or DataError(
        f"cannot read {path.name} as {format_of(path)}: {reason}: correct the file, or give it the suffix of its format"
    )


def require_full_lines(path: Path, settings: DatasetSettings, report: DataReport) -> None:
    """Checks that every line of the CSV files of a table has as many fields as its header.

    Args:
        path: A file or a folder of files. Files of other formats are not checked.
        settings: How CSV files are read.
        report: Receives a line about values with line breaks.

    Raises:
        DataError: If a line has another number of fields. The message names the line.
    """
    for part in parts_of(path):
        if format_of(part) == CSV:
            check_full_lines(part, settings, report)


def _located(reason: str, path: Path, settings: DatasetSettings) -> DataError | None:
    """Looks for the place of a fault that polars reports without its line."""
    kind = format_of(path)
    if kind == CSV and any(words in reason for words in MALFORMED):
        try:
            check_full_lines(path, settings)
        except DataError as error:
            return error
        return DataError(
            f"{path.name}: a quote stands inside a value ({reason.splitlines()[0]}): write it twice and the value in "
            "quotes, or set DatasetSettings.quotes = False"
        )
    place = _bad_json_line(path) if kind == JSON else None
    return DataError(f"{path.name}, {place}: correct the line") if place else None


def _scan_file(path: Path, settings: DatasetSettings, report: DataReport) -> pl.LazyFrame:
    kind = format_of(path)
    if kind == PARQUET:
        return pl.scan_parquet(path, hive_partitioning=False, glob=False)
    if kind == CSV:
        frame = scan_csv(path, settings, report)
        _require_distinct(frame.collect_schema().names(), path)
        return frame
    return _scan_json(path)


def _scan_json(path: Path) -> pl.LazyFrame:
    if path.suffix.lower() == ".zst":
        lines = CsvSource(path, ",").lines().drop_nulls()
        if lines.head(1).select(pl.first().str.contains(r"^\s*\[").any()).collect().item():
            return pl.read_json("\n".join(lines.collect().to_series()).encode(), infer_schema_length=None).lazy()
        return pl.scan_ndjson(path, infer_schema_length=None)
    with open_binary(path) as file:
        is_array, has_mark = _is_array(file)
        if is_array:
            return pl.read_json(file.read(), infer_schema_length=None).lazy()
        # Polars would take the signs of a pattern in the path of a file of JSON for one.
        is_plain = not (has_mark or PATTERN_SIGNS & set(str(path)))
        return pl.scan_ndjson(path if is_plain else io.BytesIO(file.read()), infer_schema_length=None)


def _is_array(file: BinaryIO) -> tuple[bool, bool]:
    """Returns whether a JSON file begins with an array, and whether with a byte order mark, which it then skips."""
    has_mark = file.read(len(codecs.BOM_UTF8)) == codecs.BOM_UTF8
    start = len(codecs.BOM_UTF8) if has_mark else 0
    file.seek(start)
    first = b" "
    while first.isspace():
        first = file.read(1)
    file.seek(start)
    return first == b"[", has_mark


def _require_distinct(columns: Sequence[str], path: Path) -> None:
    for name in columns:
        original = name.partition("_duplicated_")[0]
        if "_duplicated_" in name and original in columns:
            raise DataError(f"{path.name}, line 1: column {original!r} is there twice: rename one of the two")


def _bad_json_line(path: Path) -> str | None:
    if path.suffix.lower() == ".zst":
        return None
    with open_binary(path) as file:
        if _is_array(file)[0]:
            try:
                json.load(file, parse_constant=_refuse_constant)
            except (ValueError, RecursionError) as error:
                return f"expected an array of JSON objects, got an error: {error}"
            return None
        for number, line in enumerate(file, start=1):
            try:
                if line.strip() and not isinstance(json.loads(line, parse_constant=_refuse_constant), dict):
                    return f"line {number}: expected a JSON object, got {line[:40].decode(errors='replace')!r}"
            except (ValueError, RecursionError) as error:
                return f"line {number}: expected a JSON object, got an error: {error}"
    return None


def _refuse_constant(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON, write null")
