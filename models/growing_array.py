"""Arrays to which rows are appended while other threads read the existing rows. This module does not need PyTorch."""

import threading
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

Scalar = TypeVar("Scalar", bound=np.generic)
SMALLEST_ROOM = 1024  # rows
GROWTH = 2


class _Memory:
    """Memory for rows and the number of rows in use. Longer memory replaces it when it is full."""

    def __init__(self, rows: NDArray[Any], used: int) -> None:
        self.lock = threading.Lock()
        self.used = used
        self.rows = rows


class GrowingArray(Generic[Scalar]):
    """An immutable array of rows, whose method `extended` returns a longer array, usually without copying all rows.

    A longer array shares the memory of the array that it was made from. All rows are copied only if the reserved memory
    is full. If the same array is extended twice, the second result gets memory of its own.

    Args:
        rows: The first rows, an array of one or more axes.
        room: The number of further rows for which memory is reserved; at least `SMALLEST_ROOM` in any case. Reserved
            memory uses no physical memory before rows are written to it.

    Attributes:
        rows: All rows of this array, as a NumPy array.
    """

    def __init__(self, rows: NDArray[Scalar], *, room: int = 0) -> None:
        self._memory = _Memory(_with_room(rows, max(room, SMALLEST_ROOM)), len(rows))
        self.rows: NDArray[Scalar] = self._memory.rows[: len(rows)]

    @classmethod
    def from_memory(cls, memory: NDArray[Scalar], used: int) -> "GrowingArray[Scalar]":
        """Makes an array of the first rows of some memory, without a copy. Further rows are written behind them.

        Args:
            memory: Writable memory that nobody else writes.
            used: The number of rows of the array, at most `len(memory)`.
        """
        return cls._of(_Memory(memory, used), used)

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def lineage(self) -> object:
        """An object that tells whether this array and another grew from the same array. Compare it by `is`.

        The array that `extended` returns has the lineage of the array that it was called on. Only if that array had
        been extended before, the new array starts a lineage of its own. If two arrays have the same lineage, the rows
        of the shorter array are the first rows of the longer array.
        """
        return self._memory

    def extended(self, added: NDArray[Scalar]) -> "GrowingArray[Scalar]":
        """Returns a new array: the rows of this array, then the added rows. This array does not change."""
        begin, end = len(self.rows), len(self.rows) + len(added)
        with self._memory.lock:
            if self._memory.used == begin:
                if end > len(self._memory.rows):
                    self._memory.rows = _with_room(self.rows, GROWTH * end - begin)
                self._memory.rows[begin:end] = added
                self._memory.used = end
                return self._of(self._memory, end)
        other = GrowingArray(self.rows, room=len(added))
        return other.extended(added)

    @classmethod
    def _of(cls, memory: _Memory, length: int) -> "GrowingArray[Scalar]":
        array = cls.__new__(cls)
        array._memory, array.rows = memory, memory.rows[:length]
        return array


def _with_room(rows: NDArray[Any], room: int) -> NDArray[Any]:
    larger = np.zeros((len(rows) + room, *rows.shape[1:]), dtype=rows.dtype)
    larger[: len(rows)] = rows
    return larger
