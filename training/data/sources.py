"""Where data comes from: a public release by name, or a folder in any layout that is read here."""

from collections.abc import Callable
from pathlib import Path

import polars as pl

from rqrec.training.data.dataset import DataError, Dataset, build_dataset
from rqrec.training.data.download import RELEASES, fetch_movielens
from rqrec.training.data.movielens import read_1m_layout, read_100k_layout, read_100k_parquet, read_csv_layout
from rqrec.training.data.sequence_files import read_sequence_files
from rqrec.training.data.tables import read_tables

Reader = Callable[[Path], tuple[pl.LazyFrame, pl.DataFrame]]

# A folder is read by the first layout whose marker it holds.
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
        source: A MovieLens release such as "ml-25m" (fetched to `data_dir` if it is not there), or a folder's path.
        data_dir: Where releases are kept.
        drop_duplicates: Keep one of several equal interactions instead of refusing them.

    Raises:
        DataError: If the source is neither, or its files cannot be used.
    """
    folder = fetch_movielens(source, data_dir) if source in RELEASES else Path(source)
    if not folder.is_dir():
        raise DataError(f"DATASET must be one of {', '.join(RELEASES)} or a folder, got {source!r}")
    for marker, read in LAYOUTS:
        if any(folder.glob(marker)):
            try:
                interactions, items = read(folder)
                return build_dataset(folder.resolve().name, interactions, items, drop_duplicates=drop_duplicates)
            except (pl.exceptions.PolarsError, UnicodeDecodeError) as error:
                raise DataError(f"cannot read {folder}, which holds {marker}: {error}") from error
    raise DataError(
        f"{folder} holds none of {[marker for marker, _ in LAYOUTS]}: see 'Your own data' in the README for the layouts"
    )
