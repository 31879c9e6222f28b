"""Opens CSV files, detects their encoding and separator, and finds lines with a wrong number of fields."""

import codecs
import gzip
import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, cast

import polars as pl

from rqrec.training.data.dataset import DataError
from rqrec.training.data.report import DataReport
from rqrec.training.data.settings import DatasetSettings

SEPARATORS = ",;\t|"
CHUNK_BYTES = 1 << 22
UTF_8 = "utf-8"
# Windows-1252 has the letters of Latin-1 and the signs that Windows adds, but leaves five bytes without a meaning.
LATIN = ("cp1252", "latin-1")
BYTE_ORDER_MARKS = ((codecs.BOM_UTF8, UTF_8), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))


def scan_csv(path: Path, settings: DatasetSettings, report: DataReport) -> pl.LazyFrame:
    """Opens a CSV file as a lazy table. All columns are text, so an id such as "007" does not change.

    Args:
        path: The file, which may be compressed (.gz or .zst).
        settings: The separator and the encoding (empty to detect them), and whether the file has quotes and a header.
        report: Receives a line if the detected encoding is not UTF-8.

    Raises:
        DataError: If the separator is not a single ASCII character, the encoding does not exist, or the file cannot be
            decoded with it.
        PolarsError: If the file is not a CSV file.
    """
    if len(settings.separator.encode()) > 1:
        raise DataError(f"DatasetSettings.separator must be one character of ASCII, got {settings.separator!r}")
    encoding = settings.encoding or detect_encoding(path)
    if codecs_name(encoding) == UTF_8:
        return _scan(path, settings.separator or first_separator(path), settings)
    if not settings.encoding:
        report.note(f"{path.name}: read as {encoding}, because it is not UTF-8 (DatasetSettings.encoding changes it)")
    try:
        with open_binary(path) as file:
            text = file.read().decode(encoding)
    except UnicodeDecodeError as error:
        raise DataError(f"{path.name} is not {encoding} ({error}): correct DatasetSettings.encoding") from error
    separator = settings.separator or separator_of(text.partition("\n")[0])
    return _scan(io.BytesIO(text.encode()), separator, settings)


def codecs_name(encoding: str) -> str:
    """Returns Python's name of an encoding, such as "utf-8" for "UTF8".

    Args:
        encoding: A name of the encoding that Python knows.

    Raises:
        DataError: If the encoding does not exist.
    """
    try:
        return codecs.lookup(encoding).name
    except LookupError as error:
        raise DataError(f"DatasetSettings.encoding must be an encoding such as 'cp1252', got {encoding!r}") from error


def detect_encoding(path: Path) -> str:
    """Detects the encoding of a text file: "utf-8", "utf-16", "cp1252" or "latin-1".

    UTF-8 and UTF-16 are recognised by their byte order mark. Without a mark, the result is the first of utf-8, cp1252
    and latin-1 that can decode the file. A .zst file is not examined: it counts as UTF-8.
    """
    if path.suffix.lower() == ".zst":
        return UTF_8
    with open_binary(path) as file:
        start = file.read(4)
    for mark, encoding in BYTE_ORDER_MARKS:
        if start.startswith(mark):
            return encoding
    return next(encoding for encoding in (UTF_8, *LATIN) if _is_valid(path, encoding))


def separator_of(header: str) -> str:
    """Returns the separator of a CSV header: the most frequent of `,`, `;`, tab and `|` outside quotes, else `,`."""
    plain = re.sub(r'"[^"]*"', "", header)
    return max(SEPARATORS, key=plain.count)


def first_separator(path: Path) -> str:
    """Detects the separator of a CSV file from its first line.

    The file's encoding must write ASCII characters as single bytes, as UTF-8 does and UTF-16 does not.
    """
    if path.suffix.lower() == ".zst":
        columns = pl.scan_csv(path, separator="\x01", quote_char=None, infer_schema=False).collect_schema().names()
        return separator_of(columns[0])
    with open_binary(path) as file:
        return separator_of(file.readline().decode(UTF_8, errors="replace"))


def line_with_other_fields(path: Path, separator: str, *, quotes: bool) -> tuple[int, int, int] | None:
    """Finds the first line that has more or fewer fields than the header.

    Args:
        path: The CSV file.
        separator: The character between two fields.
        quotes: Whether double quotes enclose values, which may then contain the separator.

    Returns:
        Three numbers: the line's number (from 1), how many fields the line has, and how many the header has. None if
        there is no such line. Also None if a value in quotes contains a line break, because a row can then have
        several lines.
    """
    lines = pl.scan_csv(
        path, separator="\x01", quote_char=None, has_header=False, infer_schema=False, encoding="utf8-lossy"
    )
    text = lines.collect().to_series().fill_null("")
    if quotes and (text.str.count_matches('"', literal=True) % 2 == 1).any():
        return None
    plain = text.str.replace_all(r'"[^"]*"', "") if quotes else text
    fields = plain.str.count_matches(separator, literal=True) + 1
    wrong = ((fields != fields[0]) & (text != "")).arg_true()
    return (wrong[0] + 1, fields[wrong[0]], fields[0]) if len(wrong) else None


def open_binary(path: Path) -> BinaryIO:
    """Opens a file for reading bytes. A file whose name ends in .gz is decompressed."""
    return cast("BinaryIO", gzip.open(path)) if path.suffix.lower() == ".gz" else path.open("rb")


def _scan(source: Path | io.BytesIO, separator: str, settings: DatasetSettings) -> pl.LazyFrame:
    return pl.scan_csv(
        source,
        separator=separator,
        quote_char='"' if settings.quotes else None,
        has_header=settings.has_header,
        with_column_names=_stripped if settings.has_header else _numbered,
        infer_schema=False,
    )


def _stripped(columns: list[str]) -> list[str]:
    return [column.strip() for column in columns]


def _numbered(columns: list[str]) -> list[str]:
    """Returns "column_1", "column_2" and so on, whatever numbers the version of polars begins with."""
    return [f"column_{number}" for number in range(1, len(columns) + 1)]


def _is_valid(path: Path, encoding: str) -> bool:
    decoder = codecs.getincrementaldecoder(encoding)()
    try:
        for chunk in _chunks(path):
            decoder.decode(chunk)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return True


def _chunks(path: Path) -> Iterator[bytes]:
    with open_binary(path) as file:
        while chunk := file.read(CHUNK_BYTES):
            yield chunk
