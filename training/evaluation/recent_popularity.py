"""Recent popularity: how often each item was chosen in the last days of the training data.

Shapes: I training interactions, N items.
"""

import numpy as np
from numpy.typing import NDArray

from rqrec.training.data.splits import Sequences
from rqrec.training.data.splitting.time_unit import SECONDS_A_DAY, ticks_per_second


def recent_popularity(
    train: Sequences, times_I: NDArray[np.int64], num_items: int, *, days: int
) -> NDArray[np.int64] | None:
    """Counts how often each item was chosen in the last days of the training data. Dislikes are not counted.

    Args:
        train: Training sequences of item_index.
        times_I: The timestamp of each training interaction, in the order of `train.items_I`.
        num_items: N, the number of items in the catalogue.
        days: Number of days to count, back from the last training interaction.

    Returns:
        Counts by item_index, int64, shape (N,). None if the timestamps are not times since 1970, so their unit is not
        known.
    """
    ticks = ticks_per_second(times_I)
    if ticks is None:
        return None
    is_recent_I = times_I > times_I.max() - days * SECONDS_A_DAY * ticks
    return np.bincount(train.items_I[is_recent_I & train.is_wanted_I], minlength=num_items)
