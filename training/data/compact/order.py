"""Sorts interactions by user and time. Only a part of the users is sorted at a time, which takes less memory."""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import polars as pl
from numpy.typing import NDArray

from rqrec.training.data.dataset import TIMESTAMP, TYPE

ROWS_AT_ONCE = 4_000_000  # interactions, about
MOST_PARTS = 32  # each part reads the users of all interactions, so that more parts would take more time for a row


def in_order(frame: pl.DataFrame) -> pl.DataFrame:
    """Sorts interactions by user and time, and those of one user and time by a fixed hash of user and item, then type.

    Args:
        frame: The interactions: user_index and item_index (int32, from 0), timestamp, and any further columns. The
            table has no columns afterwards, because each of them is dropped as soon as it is sorted.
    """
    keys = frame.select("user_index", "item_index", TIMESTAMP, *(name for name in frame.columns if name == TYPE))
    bounds = _bounds(frame["user_index"])
    order = pl.concat([_order_of(keys, *users) for users in pairwise(bounds)], rechunk=True)
    del keys
    return pl.DataFrame([frame.drop_in_place(name).gather(order) for name in frame.columns])


def parts_of_rows(user: pl.Series) -> Iterator[pl.Series]:
    """Yields the numbers of the rows of some users, ascending, then those of other users, until all rows were yielded.

    Args:
        user: A number for the user of each row.
    """
    parts = _num_parts(len(user))
    part = (user % parts).cast(pl.UInt8)
    for number in range(parts):
        yield (part == number).arg_true()


def _num_parts(rows: int) -> int:
    return min(max(-(-rows // ROWS_AT_ONCE), 1), MOST_PARTS)


def _bounds(user: pl.Series) -> NDArray[np.int64]:
    """Divides the users into ranges of about as many interactions; returns where each begins, and an end."""
    counts = user.value_counts().sort("user_index")
    ends, parts = np.cumsum(counts["count"].to_numpy()), _num_parts(len(user))
    inner = np.searchsorted(ends, np.arange(1, parts) * (len(user) / parts))
    users = counts["user_index"].to_numpy()
    return np.concatenate([[0], users[inner] + 1, [np.iinfo(np.int32).max]])


def _order_of(keys: pl.DataFrame, begin: int, end: int) -> pl.Series:
    """Returns the numbers of the rows of the users in [begin, end), sorted."""
    rows = ((keys["user_index"] >= begin) & (keys["user_index"] < end)).arg_true()
    part = keys[rows].with_columns(rows.alias("row"))
    by = ["user_index", TIMESTAMP, "tie_order", *(name for name in keys.columns if name == TYPE)]
    return part.with_columns(_tie_order(part)).sort(by)["row"]


def _tie_order(frame: pl.DataFrame) -> pl.Series:
    """Returns a fixed hash of (user_index, item_index). splitmix64 never changes with the version of a library."""
    pairs = frame["user_index"].to_numpy().astype(np.uint64)
    pairs <<= np.uint64(32)
    pairs |= frame["item_index"].to_numpy().astype(np.uint64)
    return pl.Series("tie_order", _splitmix64(pairs))


def _splitmix64(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Mixes the bits of each value, in place."""
    values += np.uint64(0x9E3779B97F4A7C15)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        values ^= values >> np.uint64(shift)
        values *= np.uint64(factor)
    values ^= values >> np.uint64(31)
    return values
