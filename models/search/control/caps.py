"""Counts the items of a list by their values of capped attributes.

A value is the name of a capped attribute, and one value that the item has of it.
"""

from collections.abc import Collection, Hashable, Iterable, Mapping

Value = tuple[str, Hashable]
Values = Collection[Value]  # of one item, different ones


class Caps:
    """How many more items of each value a list may have.

    Args:
        limits: The largest number of items with the same value, at least 1, by the name of the attribute.

    Example:
        At most one item of each genre.

        >>> caps = Caps({"genres": 1})
        >>> caps.count([("genres", "War"), ("genres", "Drama")])
        [('genres', 'War'), ('genres', 'Drama')]
        >>> caps.fits([("genres", "Drama")]), caps.fits([("genres", "Horror")]), caps.fits([])
        (False, True, True)
        >>> caps.full_values
        {'genres': ['War', 'Drama']}
    """

    def __init__(self, limits: Mapping[str, int]) -> None:
        self._limits = limits
        self._room: dict[Value, int] = {}  # below 0 for a value of which pinned items are too many

    @property
    def full_values(self) -> dict[str, list[Hashable]]:
        """For each capped attribute, the values of which the list may have no more items."""
        full: dict[str, list[Hashable]] = {name: [] for name in self._limits}
        for (name, value), room in self._room.items():
            if room <= 0:
                full[name].append(value)
        return full

    def fits(self, values: Iterable[Value]) -> bool:
        """Returns whether the list may have another item with these values."""
        room_of = self._room.get
        return all(room_of(value, 1) > 0 for value in values)

    def count(self, values: Iterable[Value]) -> list[Value]:
        """Counts an item that is added to the list, and returns which of its values have become full by it."""
        full = []
        for value in values:
            room = self._room.get(value, self._limits[value[0]]) - 1
            self._room[value] = room
            if room == 0:
                full.append(value)
        return full
