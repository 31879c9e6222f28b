"""The stamp of each written item: the position of its last change. Of two changes of an item, the later stamp wins."""

from collections.abc import Iterable, Mapping
from hashlib import blake2b


class Stamps:
    """A table of the stamps of all written items, with a digest of all of them.

    The stamp of an item is the position at which its last change was first written to a Redis stream. For a change that
    was migrated from another model, it was the stream of the other model.

    Args:
        stamps: The stamps at the beginning, by item id; None for an empty table.
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
        """The digest of the table's item ids and stamps, as 32 hexadecimal digits. Equal tables have equal digests."""
        return f"{self._digest:032x}"

    def note(self, item_id: str, stamp: str) -> None:
        """Sets the stamp of an item.

        Args:
            item_id: Id of the item.
            stamp: The position of the item's last change.
        """
        if (old := self._stamps.get(item_id)) is not None:
            self._digest ^= digest_of(item_id, old)
        self._stamps[item_id] = stamp
        self._digest ^= digest_of(item_id, stamp)

    def drop(self, item_id: str) -> None:
        """Removes the stamp of an item, as if the item had never been written."""
        if (old := self._stamps.pop(item_id, None)) is not None:
            self._digest ^= digest_of(item_id, old)

    def stamp(self, item_id: str) -> str:
        """Returns an item's stamp (the position of its last change), or an empty text if it was never written."""
        return self._stamps.get(item_id, "")

    def items(self) -> Iterable[tuple[str, str]]:
        """Returns, for every item in this table, its id and its stamp (the position of its last change)."""
        return self._stamps.items()


def digest_of(item_id: str, stamp: str) -> int:
    """Returns a hash of an item id and its stamp, of 128 bits. `Stamps.digest` is the XOR of the hashes of all items.

    Args:
        item_id: Id of the item.
        stamp: The position of the item's last change.
    """
    return int.from_bytes(blake2b(f"{item_id}\0{stamp}".encode("utf-8", "surrogatepass"), digest_size=16).digest())
