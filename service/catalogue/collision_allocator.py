"""Gives every written item a unique semantic ID: its codes, and a collision code as the last code."""

from rqrec.models.trie.semantic_ids import free_collision_code
from rqrec.models.trie.trie import NO_LEAF
from rqrec.service.catalogue.changes import Change, Delete, Entry, Forget, Outcome, Result
from rqrec.service.catalogue.item_table import Codes, ItemTable


class CollisionAllocator:
    """Applies changes one after the other and gives each written item its semantic ID.

    Items for which the RQ-VAE gives equal codes differ in the last code, the collision code. It is the smallest free
    number, without an upper limit. An item that is written again with the same codes keeps its semantic ID.

    Args:
        table: The items before the changes; it is not modified.

    Attributes:
        entries: The new content of each item that was changed so far, by item id; None for a deleted item.
    """

    def __init__(self, table: ItemTable) -> None:
        self.entries: dict[str, Entry | None] = {}
        self._table = table
        self._count = len(table)
        self._taken: dict[Codes, int] = {}

    def apply(self, change: Change) -> Outcome:
        """Applies one change and returns what was done.

        If this adds, replaces or deletes an item, stores the item's new content in `CollisionAllocator.entries`.
        """
        if isinstance(change, Forget):
            is_held = self._semantic_id(change.item_id) is not None
            return Outcome(Result.NOT_FORGOTTEN if is_held else Result.FORGOTTEN)
        if isinstance(change, Delete):
            return self._delete(change.item_id)
        old = self._semantic_id(change.item_id)
        if old is not None and old[:-1] == change.codes:
            semantic_id = old
        else:
            taken = self._taken_below(change.codes)
            free = free_collision_code(taken)
            semantic_id = (*change.codes, free)
            self._taken[change.codes] = taken | 1 << free
            if old is None:
                self._count += 1
            else:
                self._free(old)
        self.entries[change.item_id] = Entry(change, semantic_id)
        return Outcome(Result.ADDED if old is None else Result.REPLACED, semantic_id)

    def _delete(self, item_id: str) -> Outcome:
        old = self._semantic_id(item_id)
        if old is None:
            return Outcome(Result.UNKNOWN_ITEM)
        if self._count == 1:
            return Outcome(Result.LAST_ITEM)
        self._count -= 1
        self._free(old)
        self.entries[item_id] = None
        return Outcome(Result.DELETED)

    def _semantic_id(self, item_id: str) -> Codes | None:
        if item_id in self.entries:
            entry = self.entries[item_id]
            return None if entry is None else entry.semantic_id
        place = self._table.find([item_id])
        return None if place[0] == NO_LEAF else tuple(self._table.codes_of(place)[0].tolist())

    def _free(self, semantic_id: Codes) -> None:
        *prefix, last = semantic_id
        self._taken[tuple(prefix)] = self._taken_below(tuple(prefix)) & ~(1 << last)

    def _taken_below(self, prefix: Codes) -> int:
        """The collision codes in use below a prefix of L - 1 codes, as bits."""
        taken = self._taken.get(prefix)
        return self._table.taken_below([prefix])[0] if taken is None else taken
