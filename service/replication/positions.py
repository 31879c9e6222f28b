"""Positions of events in a Redis stream: `<milliseconds>-<number>`, ordered by the first number, then by the second."""

from collections.abc import Iterable
from typing import NamedTuple

START = "0-0"  # before every event
BEFORE_ALL = "0-1"  # the stamp of entries that older releases wrote without one
POSITION_DIGITS = 15  # of each number: no clock gives more milliseconds before the year 30000


class Point(NamedTuple):
    """Identifies the last event of the change log that a state of the catalogue contains.

    Attributes:
        epoch: Id of the change log. A repair replaces the log by a new one with a new id.
        position: Position of the event in the stream of that log, such as `1700000000000-0`.
    """

    epoch: str
    position: str


def is_position(text: str) -> bool:
    """Returns whether a text is a position in a stream, such as `1700000000000-0`."""
    time, separator, number = text.partition("-")
    return bool(separator) and all(
        part.isascii() and part.isdigit() and len(part) <= POSITION_DIGITS for part in (time, number)
    )


def order_of(position: str) -> tuple[int, int]:
    """Returns the sort key of a position: its two numbers. Text that is no position gets (-1, -1) and sorts first."""
    if not is_position(position):
        return (-1, -1)
    time, _, number = position.partition("-")
    return int(time), int(number)


def is_before(position: str, other: str) -> bool:
    """Returns whether a position in a stream comes before another position.

    Text that is no position comes before every position.

    Args:
        position: The first position.
        other: The position to compare with.
    """
    return order_of(position) < order_of(other)


def next_position(positions: Iterable[str], now_s: float) -> str:
    """Returns a position for a new event: later than all given positions, and not earlier than a given time.

    Args:
        positions: Positions in a stream.
        now_s: The time, in seconds since 1970.
    """
    now = (round(1000 * now_s), 0)
    time, number = max(map(order_of, positions), default=(0, 0))
    return f"{now[0]}-{now[1]}" if now > (time, number) else f"{time}-{number + 1}"
