"""Counts what a bulk run did with its users."""

from dataclasses import asdict, astuple, dataclass


@dataclass(frozen=True)
class Figures:
    """Counts of users, lists and items. Every user has a list, an empty list or is skipped.

    Attributes:
        users: Users that were read.
        lists: Users with at least one item in their list.
        items: Items of all lists together, which are the rows of the output.
        popular: Lists of the most popular items, because no item of the history is known.
        short: Lists with fewer than k items, the empty ones included.
        empty: Users for whom no item is eligible.
        skipped: Users whose row POST /recommend would refuse; the folder `skipped` names them with the reason.
        unknown_items: Items of histories that the catalogue does not contain.
    """

    users: int = 0
    lists: int = 0
    items: int = 0
    popular: int = 0
    short: int = 0
    empty: int = 0
    skipped: int = 0
    unknown_items: int = 0

    def __add__(self, other: "Figures") -> "Figures":
        """Returns the counts of both together."""
        return Figures(*map(sum, zip(astuple(self), astuple(other), strict=True)))

    def as_fields(self) -> dict[str, int]:
        """Returns the counts by name."""
        return asdict(self)
