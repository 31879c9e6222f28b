"""Stores a table of numbers as one .npy file a column, and maps the files into memory.

Pages of a mapped file are read when they are first used, and the system may drop them when memory is short. So a table
may be larger than the memory, and processes that read it share its pages.
"""

from pathlib import Path

import numpy as np
import polars as pl

from rqrec.models.array_file import write_array


def write_table(table: pl.DataFrame, folder: Path) -> None:
    """Writes a table of numbers without null to a new folder.

    Args:
        table: The table. The names of its columns must be names of files.
        folder: The folder to create.
    """
    folder.mkdir()
    for place, column in enumerate(table.iter_columns()):
        write_array(folder / f"{place}-{column.name}.npy", column.to_numpy())


def map_table(folder: Path) -> pl.DataFrame:
    """Returns the table that `write_table` wrote. Its columns are read from the files when they are used.

    Args:
        folder: The folder of the table.
    """
    files = sorted(folder.glob("*.npy"))
    return pl.DataFrame([pl.Series(file.stem.partition("-")[2], np.load(file, mmap_mode="r")) for file in files])
