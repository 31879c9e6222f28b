"""Positions of events in a stream of Redis: `<milliseconds>-<number>`, ordered by both numbers."""

from collections.abc import Iterable
from typing import NamedTuple

START = "0-0"  # before every event
BEFORE_ALL = "0-1"  # the stamp of entries that older releases wrote without one
POSITION_DIGITS = 15  # of each number: no clock gives more milliseconds before the year 30000


class Point(NamedTuple):
    """The point in the change log up to which a state holds all changes.

    Attributes:
        epoch: The epoch of the change log.
        position: The position of the last applied event in that epoch.
    """

    epoch: str
    position: str


def is_position(text: str) -> bool:
    """Whether a text is a position in a stream."""
    time, separator, number = text.partition("-")
    return bool(separator) and all(
        part.isascii() and part.isdigit() and len(part) <= POSITION_DIGITS for part in (time, number)
    )


def order_of(position: str) -> tuple[int, int]:
    """The sort key of a position. Text that is no position comes before every position."""
    if not is_position(position):
        return (-1, -1)
    time, _, number = position.partition("-")
    return int(time), int(number)


def is_before(position: str, other: str) -> bool:
    """Whether a position comes before another one.

    Args:
        position: A position; text that is no position comes before every position.
        other: The other position.
    """
    return order_of(position) < order_of(other)


def next_position(positions: Iterable[str], now_s: float) -> str:
    """Returns a position after all given positions and not before a moment.

    Args:
        positions: The positions to come after.
        now_s: The moment, in seconds since 1970.
    """
    now = (round(1000 * now_s), 0)
    time, number = max(map(order_of, positions), default=(0, 0))
    return f"{now[0]}-{now[1]}" if now > (time, number) else f"{time}-{number + 1}"
