"""Counts the items of a list by their values of capped attributes.

Shapes: A capped attributes, M items, X capped values of an item, V different values.
"""

from collections.abc import Collection, Hashable, Sequence

import numpy as np

from rqrec.models.array_types import IntArray
from rqrec.models.search.control.choose import NO_VALUE

Values = Sequence[Collection[Hashable]]  # of one item: for each capped attribute, the values of the item


class Caps:
    """The capped attributes of one list, and how many more items of each value the list may have.

    Every different value of an attribute gets a number when an item with it is seen first.

    Args:
        limits_A: For each capped attribute, the largest number of items with the same value; at least 1.

    Example:
        One capped attribute, genres: at most one item of each genre.

        >>> caps = Caps([1])
        >>> caps.numbers([[["War", "Drama"]], [["Drama"]], [[]]]).tolist()
        [[0, 1], [1, -1], [-1, -1]]
        >>> caps.count([[["Drama"]]])
        >>> caps.room_V.tolist(), caps.full_values
        ([1, 0], [['Drama']])
    """

    def __init__(self, limits_A: Sequence[int]) -> None:
        self._limits_A = limits_A
        self._number_of: dict[tuple[int, Hashable], int] = {}
        self._room: list[int] = []

    @property
    def room_V(self) -> IntArray:
        """How many more items of each numbered value the list may have. Below 0 if it has too many already; int64."""
        return np.array(self._room, dtype=np.int64)

    @property
    def full_values(self) -> list[list[Hashable]]:
        """For each capped attribute, the values of which the list may have no more items."""
        full: list[list[Hashable]] = [[] for _ in self._limits_A]
        for (attribute, value), number in self._number_of.items():
            if self._room[number] <= 0:
                full[attribute].append(value)
        return full

    def numbers(self, values_M: Sequence[Values]) -> IntArray:
        """Returns the numbers of the values of M items, each once, padded with `NO_VALUE`; int64, shape (M, X).

        Args:
            values_M: The values of each item.
        """
        numbers_M = [self._numbers(values) for values in values_M]
        numbers_MX = np.full((len(numbers_M), max(map(len, numbers_M), default=0)), NO_VALUE, dtype=np.int64)
        for row_X, numbers in zip(numbers_MX, numbers_M, strict=True):
            row_X[: len(numbers)] = numbers
        return numbers_MX

    def count(self, values_M: Sequence[Values]) -> None:
        """Counts M items that are added to the list.

        Args:
            values_M: The values of each item.
        """
        for values in values_M:
            for number in self._numbers(values):
                self._room[number] -= 1

    def _numbers(self, values: Values) -> list[int]:
        number_of, room, numbers = self._number_of, self._room, list[int]()
        for attribute, limit in enumerate(self._limits_A):
            for value in dict.fromkeys(values[attribute]):
                number = number_of.setdefault((attribute, value), len(room))
                if number == len(room):
                    room.append(limit)
                numbers.append(number)
        return numbers
