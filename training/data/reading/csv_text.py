"""Opens CSV files, and detects their encoding and separator."""

import codecs
import gzip
import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple, cast

import polars as pl

from rqrec.training.data.dataset import DataError
from rqrec.training.data.report import DataReport
from rqrec.training.data.settings import DatasetSettings

SEPARATORS = ",;\t|"
NEVER_SEPARATORS = ('"', "\n", "\r")
NO_SEPARATOR = "\x01"  # no text has it
EXCEL_SEPARATOR = r'^"?sep=([^\r\n])"?\r?$'
CHUNK_BYTES = 1 << 22
UTF_8 = "utf-8"
# Windows-1252 has the letters of Latin-1 and the signs that Windows adds, but leaves five bytes without a meaning.
LATIN = ("cp1252", "latin-1")
BYTE_ORDER_MARKS = ((codecs.BOM_UTF8, UTF_8), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))


class CsvSource(NamedTuple):
    """What polars needs to read a CSV file.

    Attributes:
        data: The path of the file, or its content in UTF-8 if the file has another encoding.
        separator: The character between two fields.
        skipped_lines: Number of lines before the header: 1 if the first line is `sep=;`, which Excel reads as the
            separator; else 0.
        encoding: The encoding of the file, as `DatasetSettings.encoding` or `detect_encoding` names it.
    """

    data: Path | bytes
    separator: str
    skipped_lines: int = 0
    encoding: str = "utf-8"

    def lines(self) -> pl.LazyFrame:
        """Returns the lines from the header on, as the only column of a lazy table. An empty line is null."""
        return pl.scan_csv(
            self._readable(),
            separator="\x02" if self.separator == NO_SEPARATOR else NO_SEPARATOR,
            quote_char=None,
            has_header=False,
            skip_lines=self.skipped_lines,
            infer_schema=False,
            encoding="utf8-lossy",
            truncate_ragged_lines=True,
            glob=False,
        )

    def rows(self, settings: DatasetSettings) -> pl.LazyFrame:
        """Returns the rows as a lazy table. All columns are text."""
        return pl.scan_csv(
            self._readable(),
            separator=self.separator,
            quote_char='"' if settings.quotes else None,
            has_header=settings.has_header,
            skip_lines=self.skipped_lines,
            with_column_names=_stripped if settings.has_header else _numbered,
            infer_schema=False,
            glob=False,
        )

    def _readable(self) -> Path | io.BytesIO:
        return io.BytesIO(self.data) if isinstance(self.data, bytes) else self.data


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
    if len(settings.separator.encode()) > 1 or settings.separator in NEVER_SEPARATORS:
        raise DataError(
            f"DatasetSettings.separator must be one character of ASCII, not a quote or a line break, got "
            f"{settings.separator!r}"
        )
    source = csv_source(path, settings)
    if codecs_name(source.encoding) != UTF_8 and not settings.encoding:
        report.note(
            f"{path.name}: read as {source.encoding}, because it is not UTF-8 (DatasetSettings.encoding changes it)"
        )
    return source.rows(settings)


def csv_source(path: Path, settings: DatasetSettings) -> CsvSource:
    """Detects how a CSV file is written, and decodes it if its encoding is not UTF-8.

    Args:
        path: The file, which may be compressed (.gz or .zst).
        settings: The separator and the encoding; empty to detect them.

    Raises:
        DataError: If the encoding does not exist, or the file cannot be decoded with it.
        PolarsError: If a .zst file cannot be decompressed.
    """
    encoding = settings.encoding or detect_encoding(path)
    if codecs_name(encoding) == UTF_8:
        data: Path | bytes = path
        first = _first_line(path)
    elif path.suffix.lower() == ".zst":
        raise DataError(f"{path.name} must be UTF-8, because it is a .zst file, got {encoding!r}: decompress the file")
    else:
        try:
            with open_binary(path) as file:
                text = file.read().decode(encoding)
        except UnicodeError as error:
            raise DataError(f"{path.name} is not {encoding} ({error}): correct DatasetSettings.encoding") from error
        data, first = text.encode(), text.partition("\n")[0]
    named = re.match(EXCEL_SEPARATOR, first)
    found = named.group(1) if named else separator_of(first)
    return CsvSource(data, settings.separator or found, skipped_lines=int(named is not None), encoding=encoding)


def codecs_name(encoding: str) -> str:
    """Returns Python's name of an encoding, such as "utf-8" for "UTF8".

    Args:
        encoding: A name of the encoding that Python knows.

    Raises:
        DataError: If the encoding does not exist.
    """
    try:
        found = codecs.lookup(encoding)
        "".encode(encoding)  # refuses what Python lists beside encodings of text, such as "hex"
    except (LookupError, ValueError) as error:
        raise DataError(f"DatasetSettings.encoding must be an encoding such as 'cp1252', got {encoding!r}") from error
    return found.name


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


def open_binary(path: Path) -> BinaryIO:
    """Opens a file for reading bytes. A file whose name ends in .gz is decompressed."""
    return cast("BinaryIO", gzip.open(path)) if path.suffix.lower() == ".gz" else path.open("rb")


def _first_line(path: Path) -> str:
    if path.suffix.lower() == ".zst":
        columns = pl.scan_csv(
            path, separator=NO_SEPARATOR, quote_char=None, infer_schema=False, glob=False
        ).collect_schema()
        return columns.names()[0]
    with open_binary(path) as file:
        return file.readline().removeprefix(codecs.BOM_UTF8).decode(UTF_8, errors="replace")


def _stripped(columns: list[str]) -> list[str]:
    """Removes spaces around names. A name that is there twice is marked, as polars does with equal names."""
    names = [column.strip() for column in columns]
    first = {name: at for at, name in reversed(list(enumerate(names)))}
    return [name if first[name] == at else f"{name}_duplicated_{at}" for at, name in enumerate(names)]


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
