"""An entry of a user's history, whether it was stored or came with the request."""

from typing import Protocol


class Entry(Protocol):
    """An item, and what the user did with it."""

    @property
    def item_id(self) -> str:
        """Id of the item."""

    @property
    def type(self) -> str | None:
        """Name of the event type; None if it is not known."""

    @property
    def at(self) -> float | None:
        """When it happened, in seconds since 1970; None if it is not known."""
