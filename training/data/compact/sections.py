"""Marks the positions of a long array that are in one of many sections."""

import numpy as np
from numpy.typing import NDArray


def in_sections(begins: NDArray[np.int64], lengths: NDArray[np.int64], size: int) -> NDArray[np.bool_]:
    """Returns for each position whether it is in a section.

    >>> in_sections(np.array([1, 3]), np.array([1, 2]), 6).tolist()
    [False, True, False, True, True, False]

    Args:
        begins: The first position of each section, ascending.
        lengths: The number of positions of each section, at least 0. No section reaches into the next one.
        size: The number of positions.
    """
    edges = np.stack([begins, begins + lengths], axis=1).ravel()
    return np.repeat(np.arange(len(edges) + 1) % 2 == 1, np.diff(edges, prepend=0, append=size))
