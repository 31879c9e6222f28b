"""Cuts a data set into slices of time, and writes folders of them for training."""

from pathlib import Path

import polars as pl

from rqrec.training.data.report import DataReport
from rqrec.training.data.settings import DatasetSettings
from rqrec.training.data.sources import read_source

SLICE = "slice"


class Slices:
    """The interactions of a data set in slices of equal size, by time, and the items that were chosen until then.

    An item is in the catalogue from the slice on in which it is first chosen.

    Args:
        source: A MovieLens release, or the path of a folder; see `training.data.sources.load_dataset`.
        data_dir: The folder of downloaded releases.
        count: Number of slices.
    """

    def __init__(self, source: str, data_dir: Path, count: int) -> None:
        _, tables = read_source(source, data_dir=data_dir, settings=DatasetSettings(), report=DataReport())
        log = tables.interactions.collect().sort("timestamp", "user_id", "item_id")
        self._log = log.with_columns((pl.int_range(len(log)) * count // len(log)).alias(SLICE))
        if tables.items is None:
            raise ValueError(f"{source} needs a table of items")
        self._items = tables.items

    def write(self, folder: Path, first: int, end: int) -> Path:
        """Writes the slices [first, end) as a folder for training, unless it is there.

        Args:
            folder: The folder.
            first: The first slice of the interactions.
            end: The slice after the last one. The items are those that were chosen before it.

        Returns:
            The folder.
        """
        if not folder.is_dir():
            staged = folder.with_name(f".{folder.name}")
            staged.mkdir(parents=True, exist_ok=True)
            known = self._log.filter(pl.col(SLICE) < end)
            known.filter(pl.col(SLICE) >= first).drop(SLICE).write_parquet(staged / "interactions.parquet")
            chosen = self._items.filter(pl.col("item_id").is_in(known["item_id"].unique().implode()))
            chosen.write_parquet(staged / "items.parquet")
            staged.rename(folder)
        return folder
