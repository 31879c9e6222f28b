"""The unit of a data set's timestamps, which are whole numbers in the order of time."""

import numpy as np
from numpy.typing import NDArray

SECONDS_A_DAY = 86_400
# Ticks a second of the units, and the smallest count since 1970 that is read as this unit: that of March 1973.
UNITS = ((10**9, 10**17), (10**6, 10**14), (10**3, 10**11), (1, 10**8))


def ticks_per_second(times_I: NDArray[np.int64]) -> int | None:
    """Guesses the unit of timestamps from the size of the numbers, as times since 1970.

    >>> ticks_per_second(np.array([1_700_000_000])), ticks_per_second(np.array([1_700_000_000_000]))
    (1, 1000)

    Args:
        times_I: The timestamps.

    Returns:
        Units in a second: 1, or 10^3, 10^6 or 10^9 for milliseconds, microseconds or nanoseconds. None if the numbers
        cannot be times since 1970, such as positions in a file.
    """
    if not len(times_I):
        return None
    middle = abs(float(np.median(times_I)))
    return next((ticks for ticks, smallest in UNITS if middle >= smallest), None)
