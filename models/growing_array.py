"""Arrays that grow at their end while other threads read the rows that exist already. Needs no torch."""

import threading
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

Scalar = TypeVar("Scalar", bound=np.generic)
SMALLEST_ROOM = 1024  # rows
GROWTH = 2


class _Memory:
    """Memory for rows and the number of rows in use. Longer memory replaces it when it is full."""

    def __init__(self, rows: NDArray[Any], room: int) -> None:
        self.lock = threading.Lock()
        self.used = len(rows)
        self.rows = _with_room(rows, room)


class GrowingArray(Generic[Scalar]):
    """An immutable array that makes longer arrays cheaply.

    A longer array shares the memory of the array that it was made from. So an added row costs one row, and a copy of
    all rows when the memory is full. If one array is extended twice, the second result gets memory of its own.

    Args:
        rows: The first rows.
        room: Rows that fit before the first copy. The system provides memory only for rows that are written.

    Attributes:
        rows: The rows.
    """

    def __init__(self, rows: NDArray[Scalar], *, room: int = 0) -> None:
        self._memory = _Memory(rows, max(room, SMALLEST_ROOM))
        self.rows: NDArray[Scalar] = self._memory.rows[: len(rows)]

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def lineage(self) -> object:
        """An object that two arrays share if one of them is the beginning of the other."""
        return self._memory

    def extended(self, added: NDArray[Scalar]) -> "GrowingArray[Scalar]":
        """An array of these rows and the added rows. This array does not change."""
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
