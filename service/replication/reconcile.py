"""Joins the written items that different replicas know, and makes the state of the catalogue that has these items.

The entry of a written item is its content. The stamp of an entry is the position of the item's last change. Of two
entries of one item, the one with the later stamp wins. So the join does not depend on which replica computes it, in
which order, and how often.

Two items can have the same semantic ID: after Redis has lost the first item, its ID looks free and is given to a second
item. Then the item that was changed earlier keeps the ID. The other item gets a new collision code, the last code of a
semantic ID, which makes it unique.
"""

from collections.abc import Callable, Iterator, Mapping

import numpy as np
import polars as pl

from rqrec.models.items.item_tokenizer import ItemTokenizer
from rqrec.service.catalogue.apply import apply_changes, with_entries
from rqrec.service.catalogue.changes import BadChange, Entry
from rqrec.service.catalogue.check_change import check_change
from rqrec.service.catalogue.item_table import Codes
from rqrec.service.catalogue.snapshot import Snapshot
from rqrec.service.replication.positions import is_before, order_of
from rqrec.service.replication.stamped_entries import StampedEntry

MAX_COLLISION_CODE = 1 << 24  # bounds the memory for the codes in use, which are bits; no catalogue has so many items
SkipObserver = Callable[[str, Exception], None]
# The errors of content that cannot be applied. A MemoryError is not one of them: it says nothing about the content.
UNUSABLE = (ValueError, TypeError, KeyError, AttributeError, ArithmeticError, RecursionError, pl.exceptions.PolarsError)


def joined(one: Mapping[str, StampedEntry], other: Mapping[str, StampedEntry]) -> dict[str, StampedEntry]:
    """Joins the written items of two sources: returns for every item the entry with the later stamp.

    An entry is the content of an item, and its stamp is the position of the item's last change.

    Args:
        one: The written items of the first source, by item id.
        other: The written items of the second source. If both stamps of an item are equal, the entry in `one` wins.
    """
    both = dict(one)
    for item_id, stamped in other.items():
        if item_id not in both or is_before(both[item_id].stamp, stamped.stamp):
            both[item_id] = stamped
    return both


def state_of(
    published: Snapshot,
    entries: Mapping[str, StampedEntry],
    tokenizer: ItemTokenizer,
    version: int,
    on_skip: SkipObserver,
) -> Snapshot:
    """Makes the state of the catalogue from the published state and the content of all items written since then.

    If two items have the same semantic ID, the item that was changed later gets another collision code.

    Args:
        published: The state of the catalogue when the model was published, without later changes.
        entries: The content of each written item, with the position of its last change, by item id.
        tokenizer: The model's item tokenizer, which computes the vectors of new items.
        version: The `catalogue_version` of the new state.
        on_skip: Called with the item id and the error for each item whose content does not fit this model.
    """
    good = {
        item_id: stamped
        for item_id, stamped in entries.items()
        if _fits(item_id, stamped, published, tokenizer, on_skip)
    }
    moved = set(_without_unique_id(good, published))
    kept = {item_id: None if item_id in moved else stamped.entry for item_id, stamped in good.items()}
    try:
        state = with_entries(published, kept, tokenizer, catalogue_version=version)
    except UNUSABLE:
        kept = _usable(published, kept, tokenizer, on_skip)
        state = with_entries(published, kept, tokenizer, catalogue_version=version)
    changes = [entry.put for item_id in sorted(moved) if (entry := good[item_id].entry) is not None]
    if changes:
        state, _ = apply_changes(state, changes, tokenizer, catalogue_version=version)
    return state


def _fits(
    item_id: str, stamped: StampedEntry, published: Snapshot, tokenizer: ItemTokenizer, on_skip: SkipObserver
) -> bool:
    """Whether an entry belongs to its item and to this model."""
    entry = stamped.entry
    if entry is None:
        return True
    try:
        check_change(entry.put, published, tokenizer)
        if entry.put.item_id != item_id or entry.semantic_id[: len(entry.put.codes)] != entry.put.codes:
            raise BadChange(
                f"expected an entry of {item_id!r} with its own codes, got {entry.put.item_id!r}: {entry.semantic_id}"
            )
        if len(entry.semantic_id) != published.trie.num_levels or not 0 <= entry.semantic_id[-1] < MAX_COLLISION_CODE:
            raise BadChange(f"expected a collision code in [0, {MAX_COLLISION_CODE}), got {entry.semantic_id}")
    except UNUSABLE as error:
        on_skip(item_id, error)
        return False
    return True


def _without_unique_id(entries: Mapping[str, StampedEntry], published: Snapshot) -> Iterator[str]:
    """The items whose semantic ID belongs to an item that was written earlier, or to an item of the bundle."""
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
    published: Snapshot, entries: Mapping[str, Entry | None], tokenizer: ItemTokenizer, on_skip: SkipObserver
) -> dict[str, Entry | None]:
    """The entries that this model can apply; bisects to find those that it cannot."""
    try:
        with_entries(published, entries, tokenizer, catalogue_version=0)
    except UNUSABLE as error:
        if len(entries) == 1:
            on_skip(next(iter(entries)), error)
            return {}
        pairs = list(entries.items())
        halves = (dict(pairs[: len(pairs) // 2]), dict(pairs[len(pairs) // 2 :]))
        return {
            item_id: entry for half in halves for item_id, entry in _usable(published, half, tokenizer, on_skip).items()
        }
    return dict(entries)
