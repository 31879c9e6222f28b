"""Reads the map of a bundle: the place of each item in the plane, so that items with similar vectors are near.

Shapes: R items.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from rqrec.models.array_types import FloatArray, Int32Array
from rqrec.models.bundle.tables import read_matrix

LARGEST = 1e6


@dataclass(frozen=True, eq=False)
class ItemMap:
    """The places of the bundle's R items on a map. It takes 12 bytes of memory an item.

    Attributes:
        places_R2: The place of each item, float32; training draws a map in [-1, 1].
    """

    places_R2: FloatArray

    @cached_property
    def sampling_order_R(self) -> Int32Array:
        """The rows of all items in a random order that is always the same, int32.

        So the first n rows are a sample, and a larger sample holds a smaller one.
        """
        return np.random.default_rng(0).permutation(len(self.places_R2)).astype(np.int32)


def read_map(path: Path, *, rows: int) -> ItemMap:
    """Reads and checks the file of a map.

    Args:
        path: The path of the .npy file.
        rows: R, the expected number of items.

    Raises:
        ValueError: If the file holds no matrix of float32 numbers of the shape (R, 2), or a number is not finite.
    """
    return ItemMap(read_matrix(path, (np.float32,), rows=rows, columns=2, largest=LARGEST))
