"""What replicas know of the items written, joined: of two changes of one item the later one holds, whoever knows it.

Each entry has a stamp, the position of the change that it came of. So the join of what two replicas know is the same
whichever of them works it out, and how often. Two items that bear one semantic ID, as can happen after a loss, are told
apart: the one written first keeps it.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping

import numpy as np
import polars as pl

from rqrec.models.items.item_tokenizer import ItemTokenizer
from rqrec.service.catalogue.apply import apply_changes, check, with_entries
from rqrec.service.catalogue.changes import BadChange, Entry
from rqrec.service.catalogue.item_table import Codes
from rqrec.service.catalogue.snapshot import Snapshot
from rqrec.service.replication.log_state import Stamped, digest_of, is_before, order_of

MAX_COLLISION_CODE = 1 << 24  # more items than a catalogue has; the codes in use are counted as bits
Skipped = Callable[[str, Exception], None]
# What content raises that cannot be applied; what the machine raises (MemoryError) says nothing about content.
UNUSABLE = (ValueError, TypeError, KeyError, AttributeError, ArithmeticError, RecursionError, pl.exceptions.PolarsError)


class Stamps:
    """When each item was written last, and the digest of that; see `service.replication.log_state.digest_of`."""

    def __init__(self, stamps: Mapping[str, str] | None = None) -> None:
        self._stamps: dict[str, str] = {}
        self._digest = 0
        for item_id, stamp in (stamps or {}).items():
            self.note(item_id, stamp)

    def __len__(self) -> int:
        return len(self._stamps)

    @property
    def digest(self) -> str:
        """Of all of them."""
        return f"{self._digest:032x}"

    def note(self, item_id: str, stamp: str) -> None:
        """Takes the stamp of an item's last change."""
        if (old := self._stamps.get(item_id)) is not None:
            self._digest ^= digest_of(item_id, old)
        self._stamps[item_id] = stamp
        self._digest ^= digest_of(item_id, stamp)

    def stamp(self, item_id: str) -> str:
        """An item's stamp; empty, which is before all, for one that was never written."""
        return self._stamps.get(item_id, "")

    def after(self, position: str) -> list[str]:
        """The items whose stamps come after a position."""
        return [item_id for item_id, stamp in self._stamps.items() if is_before(position, stamp)]

    def items(self) -> Iterable[tuple[str, str]]:
        """Item ids and stamps."""
        return self._stamps.items()


def joined(one: Mapping[str, Stamped], other: Mapping[str, Stamped]) -> dict[str, Stamped]:
    """Of every item the later entry."""
    both = dict(one)
    for item_id, stamped in other.items():
        if item_id not in both or is_before(both[item_id].stamp, stamped.stamp):
            both[item_id] = stamped
    return both


def state_of(
    published: Snapshot, entries: Mapping[str, Stamped], tokenizer: ItemTokenizer, version: int, skipped: Skipped
) -> Snapshot:
    """The state in which the items are as their entries say; where two have one semantic ID, the later gets another.

    Args:
        published: The state that the bundle was published with.
        entries: The items written since.
        tokenizer: Makes their vectors.
        version: The state's `catalogue_version`.
        skipped: Told of each entry that this model cannot take, and why.
    """
    good = {
        item_id: stamped
        for item_id, stamped in entries.items()
        if _is_ours(item_id, stamped, published, tokenizer, skipped)
    }
    moved = set(_without_id(good, published))
    kept = {item_id: None if item_id in moved else stamped.entry for item_id, stamped in good.items()}
    try:
        state = with_entries(published, kept, tokenizer, catalogue_version=version)
    except UNUSABLE:
        kept = _usable(published, kept, tokenizer, skipped)
        state = with_entries(published, kept, tokenizer, catalogue_version=version)
    changes = [entry.put for item_id in sorted(moved) if (entry := good[item_id].entry) is not None]
    if changes:
        state, _ = apply_changes(state, changes, tokenizer, catalogue_version=version)
    return state


def _is_ours(item_id: str, stamped: Stamped, published: Snapshot, tokenizer: ItemTokenizer, skipped: Skipped) -> bool:
    entry = stamped.entry
    if entry is None:
        return True
    try:
        check(entry.put, published, tokenizer)
        if entry.put.item_id != item_id or entry.semantic_id[: len(entry.put.codes)] != entry.put.codes:
            raise BadChange("the entry is of another item, or of another semantic ID")
        if len(entry.semantic_id) != published.trie.num_levels or not 0 <= entry.semantic_id[-1] < MAX_COLLISION_CODE:
            raise BadChange(f"expected a last code in [0, {MAX_COLLISION_CODE}), got {entry.semantic_id}")
    except UNUSABLE as error:
        skipped(item_id, error)
        return False
    return True


def _without_id(entries: Mapping[str, Stamped], published: Snapshot) -> Iterator[str]:
    """The items whose semantic ID another one has, written before or of the bundle."""
    taken: set[Codes] = set()
    for item_id, stamped in sorted(entries.items(), key=lambda one: (order_of(one[1].stamp), one[0])):
        entry = stamped.entry
        if entry is None:
            continue
        first, last = published.trie.leaf_range(entry.semantic_id)
        holders = [item.item_id for item in published.table.items(np.arange(first, last))]
        if entry.semantic_id in taken or any(holder not in entries for holder in holders):
            yield item_id
        else:
            taken.add(entry.semantic_id)


def _usable(
    published: Snapshot, entries: Mapping[str, Entry | None], tokenizer: ItemTokenizer, skipped: Skipped
) -> dict[str, Entry | None]:
    """The entries that this model can take, found by halves."""
    try:
        with_entries(published, entries, tokenizer, catalogue_version=0)
    except UNUSABLE as error:
        if len(entries) == 1:
            skipped(next(iter(entries)), error)
            return {}
        pairs = list(entries.items())
        halves = (dict(pairs[: len(pairs) // 2]), dict(pairs[len(pairs) // 2 :]))
        return {
            item_id: entry for half in halves for item_id, entry in _usable(published, half, tokenizer, skipped).items()
        }
    return dict(entries)
