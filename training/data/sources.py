"""Reads a data set from a public release or from a folder in any supported layout."""

from collections.abc import Callable
from pathlib import Path

import polars as pl

from rqrec.training.data.dataset import DataError, Dataset, build_dataset
from rqrec.training.data.download import RELEASES, fetch_movielens
from rqrec.training.data.movielens import read_1m_layout, read_100k_layout, read_100k_parquet, read_csv_layout
from rqrec.training.data.sequence_files import read_sequence_files
from rqrec.training.data.tables import read_tables

Reader = Callable[[Path], tuple[pl.LazyFrame, pl.DataFrame]]

# The first layout whose marker exists in a folder reads the folder.
LAYOUTS: tuple[tuple[str, Reader], ...] = (
    ("movies.csv", read_csv_layout),
    ("movies.dat", read_1m_layout),
    ("u.item", read_100k_layout),
    ("MovieLens100k_items.parquet.brotli", read_100k_parquet),
    ("interactions.*", read_tables),
    ("items.jsonl", read_sequence_files),
)


def load_dataset(source: str, *, data_dir: Path, drop_duplicates: bool = False) -> Dataset:
    """Reads a data set.

    Args:
        source: A MovieLens release such as "ml-25m" (downloaded to `data_dir` if needed), or the path of a folder.
        data_dir: The folder of downloaded releases.
        drop_duplicates: Whether one of several equal interactions is kept; otherwise they are an error.

    Raises:
        DataError: If the source is neither, or its files cannot be used.
    """
    folder = fetch_movielens(source, data_dir) if source in RELEASES else Path(source)
    if not folder.is_dir():
        raise DataError(f"the data set must be one of {', '.join(RELEASES)} or a folder, got {source!r}")
    for marker, read in LAYOUTS:
        if any(folder.glob(marker)):
            try:
                interactions, items = read(folder)
                return build_dataset(folder.resolve().name, interactions, items, drop_duplicates=drop_duplicates)
            except (pl.exceptions.PolarsError, UnicodeDecodeError) as error:
                raise DataError(f"cannot read {folder} by its {marker}: {error}") from error
    raise DataError(
        f"{folder} must hold one of {[marker for marker, _ in LAYOUTS]}, but holds none: see 'Your own data' in the "
        "README for the layouts"
    )
