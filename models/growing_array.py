"""Arrays that grow at their end while others read what is there already. Needs no torch."""

import threading
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

Scalar = TypeVar("Scalar", bound=np.generic)
SMALLEST_ROOM = 1024  # rows
GROWTH = 2


class _Memory:
    """Room for rows, and how many of them are in use; a longer room takes its place when it is full."""

    def __init__(self, rows: NDArray[Any], room: int) -> None:
        self.lock = threading.Lock()
        self.used = len(rows)
        self.rows = _with_room(rows, room)


class GrowingArray(Generic[Scalar]):
    """Rows that are only ever added to.

    A longer array shares the memory of the one that it was made from, which stays as it is: adding a row costs that
    row, now and then a copy of all. What is added twice to one array makes two arrays, the second one with memory of
    its own.

    Args:
        rows: The first rows.
        room: Rows that may be added before the first copy; memory that is not used is not taken from the system.

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
        """The same for arrays of which one is the beginning of the other."""
        return self._memory

    def extended(self, added: NDArray[Scalar]) -> "GrowingArray[Scalar]":
        """The array with more rows."""
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
