"""Popularity of the last days: how often each item was chosen shortly before the training data ends.

Shapes: I training interactions, N items.
"""

import numpy as np
from numpy.typing import NDArray

from rqrec.training.data.splits import Sequences
from rqrec.training.data.splitting.time_unit import SECONDS_A_DAY, ticks_per_second


def recent_popularity(
    train: Sequences, times_I: NDArray[np.int64], num_items: int, *, days: int
) -> NDArray[np.int64] | None:
    """Counts the training interactions of the last days, which end with the last training interaction.

    Dislikes do not count.

    Args:
        train: Training sequences of item_index.
        times_I: The timestamp of each training interaction.
        num_items: N.
        days: Number of days.

    Returns:
        Counts by item_index, shape (N,); None if the timestamps are no times since 1970.
    """
    ticks = ticks_per_second(times_I)
    if ticks is None:
        return None
    is_recent_I = times_I > times_I.max() - days * SECONDS_A_DAY * ticks
    return np.bincount(train.items_I[is_recent_I & train.is_wanted_I], minlength=num_items)
