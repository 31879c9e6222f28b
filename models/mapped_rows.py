"""Maps the rows of a .npy file into memory, with room for further rows behind them. This module needs no PyTorch.

Pages of a mapped file are read when they are first used. The system may drop them when memory is short and read them
again, so they bound neither the size of a catalogue nor the time of a start.
"""

import ctypes
import mmap
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

MAP_FIXED = 0x10  # Linux and macOS
FAILED = ctypes.c_void_p(-1).value


def map_rows(path: Path, *, room: int = 0) -> NDArray[Any]:
    """Maps a .npy file into memory. Writing to the array never changes the file.

    Args:
        path: The path of the file, with an array of at least one row and one axis.
        room: The number of rows of zeros after those of the file. They take memory only when they are written.

    Returns:
        The rows of the file, and then the further rows. The first ones are read from the file when they are used.

    Raises:
        OSError: If the file cannot be read or mapped.
        ValueError: If it is not such a file.
    """
    with path.open("rb") as file:
        if np.lib.format.read_magic(file) != (1, 0):
            raise ValueError("expected a .npy file of version 1.0: write it with numpy.save")
        shape, is_transposed, dtype = np.lib.format.read_array_header_1_0(file)
        begin, size = file.tell(), os.fstat(file.fileno()).st_size
        width = int(np.prod(shape[1:], dtype=np.int64))
        if is_transposed or dtype.hasobject or not shape or not shape[0] * width:
            raise ValueError(f"expected rows of numbers, got an array of {dtype} of the shape {shape}")
        if size != begin + shape[0] * width * dtype.itemsize:
            raise ValueError(f"expected {shape[0]} rows of {width} numbers, got a file of {size} bytes")
        rows = shape[0] + room
        flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | getattr(mmap, "MAP_NORESERVE", 0)
        memory = mmap.mmap(-1, begin + rows * width * dtype.itemsize, flags=flags)
        _map_over(memory, file.fileno(), size)
    return np.frombuffer(memory, dtype, rows * width, offset=begin).reshape(rows, *shape[1:])


def _map_over(memory: mmap.mmap, file: int, size: int) -> None:
    """Maps a file over the beginning of reserved memory. Python's `mmap` cannot map to a given address."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    protection, flags = mmap.PROT_READ | mmap.PROT_WRITE, mmap.MAP_PRIVATE | MAP_FIXED
    if libc.mmap(address, size, protection, flags, file, 0) == FAILED:
        raise OSError(ctypes.get_errno(), "the file cannot be mapped into memory")
