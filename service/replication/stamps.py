"""The stamp of each written item: the position of its last change. Stamps decide which of two changes is the later."""

from collections.abc import Iterable, Mapping
from hashlib import blake2b


class Stamps:
    """The stamps of all written items, with a digest that is kept up to date.

    Args:
        stamps: The first stamps, by item id.
    """

    def __init__(self, stamps: Mapping[str, str] | None = None) -> None:
        self._stamps: dict[str, str] = {}
        self._digest = 0
        for item_id, stamp in (stamps or {}).items():
            self.note(item_id, stamp)

    def __len__(self) -> int:
        return len(self._stamps)

    @property
    def digest(self) -> str:
        """The digest of all item ids and stamps, 32 hexadecimal digits; equal stamps have equal digests."""
        return f"{self._digest:032x}"

    def note(self, item_id: str, stamp: str) -> None:
        """Sets the stamp of an item.

        Args:
            item_id: The item.
            stamp: The position of its last change.
        """
        if (old := self._stamps.get(item_id)) is not None:
            self._digest ^= digest_of(item_id, old)
        self._stamps[item_id] = stamp
        self._digest ^= digest_of(item_id, stamp)

    def drop(self, item_id: str) -> None:
        """Forgets the stamp of an item, as if it had never been written."""
        if (old := self._stamps.pop(item_id, None)) is not None:
            self._digest ^= digest_of(item_id, old)

    def stamp(self, item_id: str) -> str:
        """Returns the stamp of an item; an empty text, which comes before all positions, if it was never written."""
        return self._stamps.get(item_id, "")

    def items(self) -> Iterable[tuple[str, str]]:
        """The item ids with their stamps."""
        return self._stamps.items()


def digest_of(item_id: str, stamp: str) -> int:
    """Returns one item's part of the digest, 128 bits. The digest is the XOR of the parts of all items.

    Args:
        item_id: The item.
        stamp: The position of its last change.
    """
    return int.from_bytes(blake2b(f"{item_id}\0{stamp}".encode("utf-8", "surrogatepass"), digest_size=16).digest())
