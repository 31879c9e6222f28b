"""Writes arrays as .npy files."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray


def write_array(path: Path, array: NDArray[Any]) -> None:
    """Writes an array as `np.save` does, but an error, such as that of a full disk, has the number of its cause.

    Args:
        path: The file. A file that stands there is replaced.
        array: The array, which must not hold Python objects.

    Raises:
        OSError: If the file cannot be written; `errno` says why.
    """
    array = np.ascontiguousarray(array)
    with path.open("wb") as file:
        npy.write_array_header_1_0(file, npy.header_data_from_array_1_0(array))
        file.write(array.reshape(-1).view(np.uint8).data)
