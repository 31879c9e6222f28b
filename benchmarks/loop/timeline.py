"""The events of a data set in the order of time: a first part to train on, and slices to play against the service."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import polars as pl

from rqrec.training.data.dataset import EVENT_TYPE, ITEM_ID, TIMESTAMP, USER_ID, Dataset

TYPE_OF_UNKNOWN = "unknown"


def timeline(dataset: Dataset) -> pl.DataFrame:
    """Returns all events of a data set, oldest first; those of one user stay in the order of the data set.

    Args:
        dataset: The data set, with the ids of its users.

    Returns:
        A table with user_id, item_id, event_type (strings) and timestamp (integer).
    """
    rows = dataset.interactions
    names = pl.Series(EVENT_TYPE, [TYPE_OF_UNKNOWN, *dataset.event_types])
    columns = {
        USER_ID: dataset.user_ids.gather(rows["user_index"]),
        ITEM_ID: dataset.items[ITEM_ID].gather(rows["item_index"]),
        EVENT_TYPE: names.gather(rows["type"]) if "type" in rows.columns else names.gather([0] * len(rows)),
        TIMESTAMP: rows[TIMESTAMP],
    }
    return pl.DataFrame(columns).sort(TIMESTAMP, maintain_order=True)


def divided(events: pl.DataFrame, *, first_share: float, num_slices: int) -> tuple[pl.DataFrame, list[pl.DataFrame]]:
    """Divides events into a first part and slices of equal size that follow it.

    Args:
        events: The events, oldest first.
        first_share: Share of the events in the first part, in (0, 1).
        num_slices: Number of slices.

    Returns:
        The first part, and the slices in the order of time.
    """
    ends = np.linspace(round(first_share * len(events)), len(events), num_slices + 1).round().astype(int).tolist()
    slices = [events[begin:end] for begin, end in pairwise(ends)]
    return events[: ends[0]], slices


def write_data_set(events: pl.DataFrame, items: pl.DataFrame, folder: Path) -> None:
    """Writes events and the whole catalogue as a folder that `rqrec train` reads.

    Args:
        events: The events; see `timeline`.
        items: Table with item_id and the attributes.
        folder: The folder to write.
    """
    folder.mkdir(parents=True)
    events.write_parquet(folder / "interactions.parquet")
    items.write_parquet(folder / "items.parquet")
