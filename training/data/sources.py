"""Reads a data set from a MovieLens release, or from a folder in any supported file layout."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fnmatch import fnmatch
from pathlib import Path

import polars as pl

from rqrec.training.data.build import build_dataset
from rqrec.training.data.dataset import DataError, Dataset, RawTables
from rqrec.training.data.download import RELEASES, fetch_movielens
from rqrec.training.data.movielens import read_1m_layout, read_100k_layout, read_100k_parquet, read_csv_layout
from rqrec.training.data.reading.recbole import read_recbole
from rqrec.training.data.report import DataReport
from rqrec.training.data.sequence_files import read_sequence_files
from rqrec.training.data.settings import DatasetSettings
from rqrec.training.data.tables import read_tables

FILES_SHOWN = 10
Reader = Callable[[Path, DatasetSettings, DataReport], RawTables]


def _fixed(read: Callable[[Path], tuple[pl.LazyFrame, pl.DataFrame]], log: str, catalogue: str) -> Reader:
    """Returns a reader of a layout whose files and columns have fixed names."""

    def read_fixed(folder: Path, settings: DatasetSettings, _report: DataReport) -> RawTables:
        if settings.columns or settings.ignored_columns:
            raise DataError(
                f"{log} and {catalogue} in {folder} have fixed names of columns: remove DatasetSettings.columns and "
                "ignored_columns, or name the files in DatasetSettings.interactions and items"
            )
        return RawTables(*read(folder), log, catalogue)

    return read_fixed


# The first layout whose marker exists in a folder reads the folder.
LAYOUTS: tuple[tuple[str, Reader], ...] = (
    ("interactions.*", read_tables),
    ("interactions", read_tables),  # a folder of files
    ("movies.csv", _fixed(read_csv_layout, "ratings.csv", "movies.csv")),
    ("movies.dat", _fixed(read_1m_layout, "ratings.dat", "movies.dat")),
    ("u.item", _fixed(read_100k_layout, "u.data", "u.item")),
    ("MovieLens100k_items.parquet.brotli", _fixed(read_100k_parquet, "MovieLens100k_data", "MovieLens100k_items")),
    ("*.inter", read_recbole),
    ("items.jsonl", _fixed(read_sequence_files, "the sequence file", "items.jsonl")),
)


def load_dataset(
    source: str, *, data_dir: Path, settings: DatasetSettings | None = None, report: DataReport | None = None
) -> Dataset:
    """Reads a data set from its files, checks it, and returns it with numbered users and items.

    Args:
        source: A MovieLens release such as "ml-25m" (downloaded to `data_dir` if needed), or the path of a folder.
        data_dir: The folder of downloaded releases.
        settings: How files are read, and how bad rows are treated; None for the defaults. `settings.source` is ignored.
        report: Collects a line for everything that was detected, changed or dropped; None if no report is needed.

    Raises:
        DataError: If the source is neither a release nor a folder, or its files cannot be used.
    """
    settings, report = settings or DatasetSettings(), report or DataReport()
    with _reading(source):
        name, tables = read_source(source, data_dir=data_dir, settings=settings, report=report)
        return build_dataset(
            name,
            tables.interactions,
            tables.items,
            settings,
            log=tables.log,
            catalogue=tables.catalogue,
            report=report,
        )


def read_source(source: str, *, data_dir: Path, settings: DatasetSettings, report: DataReport) -> tuple[str, RawTables]:
    """Reads the files of a data set without any check, and returns its name and its tables.

    Args:
        source: A MovieLens release, or the path of a folder; see `load_dataset`.
        data_dir: The folder of downloaded releases.
        settings: How files are read.
        report: Collects a line for everything that was detected.

    Raises:
        DataError: If the source is neither a release nor a folder, or its files cannot be used.
    """
    folder = fetch_movielens(source, data_dir) if source in RELEASES else Path(source)
    if not folder.is_dir():
        raise _no_folder(source)
    _, read = _layout(folder, settings)
    with _reading(source):
        return folder.resolve().name, read(folder, settings, report)


@contextmanager
def _reading(source: str) -> Iterator[None]:
    """Turns an error of polars into one that names the source."""
    try:
        yield
    except (pl.exceptions.PolarsError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read {source}: {str(error).splitlines()[0]}") from error


def _no_folder(source: str) -> DataError:
    path, expected = Path(source), f"DATASET must be one of {', '.join(RELEASES)} or a folder"
    if path.exists():
        return DataError(f"{expected}, got the file {source!r}: pass its folder {str(path.parent)!r}")
    place = "" if path.is_absolute() else f" in {Path.cwd()}"
    return DataError(f"{expected}, got {source!r}, but there is no such folder{place}: correct the path or the name")


def _layout(folder: Path, settings: DatasetSettings) -> tuple[str, Reader]:
    if settings.interactions:
        return settings.interactions, read_tables
    names = [path.name for path in folder.iterdir()]
    for marker, read in LAYOUTS:
        if any(fnmatch(name.lower(), marker.lower()) for name in names):
            return marker, read
    raise DataError(
        f"{folder} must hold one of {[marker for marker, _ in LAYOUTS]}, but holds {sorted(names)[:FILES_SHOWN]}: set "
        "DatasetSettings.interactions to the file of the interactions and items to that of the items, if you have one; "
        "see 'Your own data' in the README"
    )
