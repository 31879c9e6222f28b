"""Stacks rows of different lengths into one array."""

from collections.abc import Sequence

import numpy as np

from rqrec.models.array_types import IntArray


def pad(rows: Sequence[Sequence[int] | IntArray], *, filler: int) -> IntArray:
    """Stacks rows of different lengths into one array. Short rows are filled up at the end.

    >>> pad([[1, 2], [3]], filler=-1).tolist()
    [[1, 2], [3, -1]]

    Args:
        rows: Rows of integers.
        filler: The value that fills up a short row.

    Returns:
        An int64 array, as wide as the longest row and at least one column wide.
    """
    padded = np.full((len(rows), max([1, *map(len, rows)])), filler, dtype=np.int64)
    for padded_row, row in zip(padded, rows, strict=True):
        padded_row[: len(row)] = row
    return padded
