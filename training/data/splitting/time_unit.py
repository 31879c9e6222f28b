"""Guesses the unit of timestamps, such as milliseconds since 1970, and converts them to seconds."""

import numpy as np
from numpy.typing import NDArray

SECONDS_A_DAY = 86_400
# Ticks a second of the units, and the smallest count since 1970 that is read as this unit: that of March 1973.
UNITS = ((10**9, 10**17), (10**6, 10**14), (10**3, 10**11), (1, 10**8))


def ticks_per_second(times_I: NDArray[np.int64]) -> int | None:
    """Guesses the unit of timestamps from the size of the numbers. Returns how many units make one second.

    >>> ticks_per_second(np.array([1_700_000_000])), ticks_per_second(np.array([1_700_000_000_000]))
    (1, 1000)

    Args:
        times_I: The timestamps, whole numbers.

    Returns:
        1 for seconds, 10^3 for milliseconds, 10^6 for microseconds, 10^9 for nanoseconds since 1970. None if the
        numbers are too small to be times since 1970, for example row numbers.
    """
    if not len(times_I):
        return None
    middle = abs(float(np.median(times_I)))
    return next((ticks for ticks, smallest in UNITS if middle >= smallest), None)


def whole_seconds(times_I: NDArray[np.int64]) -> NDArray[np.int64] | None:
    """Converts timestamps of a guessed unit to whole seconds since 1970.

    >>> whole_seconds(np.array([1_700_000_000_999])), whole_seconds(np.array([1, 2]))
    (array([1700000000]), None)

    Args:
        times_I: The timestamps, whole numbers.

    Returns:
        The seconds, rounded down. None if the numbers are too small to be times since 1970.
    """
    ticks = ticks_per_second(times_I)
    if ticks is None:
        return None
    return np.asarray(times_I if ticks == 1 else times_I // ticks, dtype=np.int64)
