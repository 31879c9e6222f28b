"""Applies changes to a state of the catalogue and returns the next state.

The next state depends only on the bundle (the published model) and on the changes in their order. So all replicas that
apply the same changes have the same state. This includes the collision codes, the last codes of semantic IDs, which
keep two items from having the same semantic ID.

Shapes: M written items, N leaves, L levels, D width, P content width.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from rpds import HashTrieMap

from rqrec.models.array_types import IntArray
from rqrec.models.items.item_tokenizer import ItemTokenizer
from rqrec.models.search.eligibility import Eligibility
from rqrec.models.trie.trie import NO_LEAF
from rqrec.service.catalogue.changes import Change, Entry, Outcome
from rqrec.service.catalogue.collision_allocator import CollisionAllocator
from rqrec.service.catalogue.item_table import ItemTable
from rqrec.service.catalogue.snapshot import Snapshot
from rqrec.service.catalogue.written_vectors import contents_of, own_leaves, vectors_of

# `compacted` copies all rows in use, so it waits until the unused rows are this share of the rows in use.
UNUSED_ROWS_SHARE = 0.25


def apply_changes(
    snapshot: Snapshot, changes: Sequence[Change], tokenizer: ItemTokenizer, *, catalogue_version: int
) -> tuple[Snapshot, list[Outcome]]:
    """Applies changes to a state of the catalogue, one after the other, and returns the next state.

    Args:
        snapshot: The state before the changes; it is not modified.
        changes: Changes that passed `check_change`.
        tokenizer: The model's item tokenizer, which computes the vectors of new items.
        catalogue_version: Number of changes since the model was published, these changes included.

    Returns:
        The state after the changes, and for each change what was done.
    """
    allocator = CollisionAllocator(snapshot.table)
    outcomes = [allocator.apply(change) for change in changes]
    return with_entries(snapshot, allocator.entries, tokenizer, catalogue_version=catalogue_version), outcomes


def with_entries(
    snapshot: Snapshot, entries: Mapping[str, Entry | None], tokenizer: ItemTokenizer, *, catalogue_version: int
) -> Snapshot:
    """Returns the state in which some items are replaced, added or deleted.

    The time depends mainly on the number of these items. But a few arrays with a number for each item of the catalogue
    are copied.

    Args:
        snapshot: The state before; it is not modified.
        entries: The new content of each of these items, by item id; None deletes the item.
        tokenizer: The model's item tokenizer, which computes the vectors of new items.
        catalogue_version: Number of changes since the model was published, for the returned state.
    """
    written, table = [entry for entry in entries.values() if entry is not None], snapshot.table
    vectors_MD, contents_MP = vectors_of(written, table, tokenizer), contents_of(written, tokenizer)
    leaf_M = own_leaves(written, table, tokenizer)
    changed = _with_changes(snapshot, entries, vectors_MD, contents_MP, leaf_M)
    return replace(changed, catalogue_version=catalogue_version)


def compacted(snapshot: Snapshot, *, at_least: int) -> Snapshot:
    """Frees the memory of unused rows: returns a state with the same items, but without unused rows.

    Every write of an item adds a row to the item table. A row is unused when its item was written again or deleted
    later. If only few rows are unused, the given state itself is returned, because the copy would cost more than it
    frees.

    Args:
        snapshot: The state; it is not modified.
        at_least: Smallest number of unused rows for which a copy is made. The unused rows must also be at
            least the share `UNUSED_ROWS_SHARE` of the rows in use.
    """
    table, published = snapshot.table, snapshot.published
    unused = len(table.rows) - table.num_live_rows
    if published is None or unused < max(at_least, UNUSED_ROWS_SHARE * table.num_live_rows):
        return snapshot
    places_M = table.find([item_id for item_id, entry in snapshot.entries.items() if entry is not None])
    leaf_M = np.where(places_M < table.trie.num_leaves, places_M, NO_LEAF)
    vectors_MD = snapshot.item_vectors.rows[places_M]
    contents_MP = snapshot.row_contents.rows[table.rows_of(places_M)]
    compact = _with_changes(published, snapshot.entries, vectors_MD, contents_MP, leaf_M)
    return replace(compact, catalogue_version=snapshot.catalogue_version)


def _with_changes(
    snapshot: Snapshot,
    entries: Mapping[str, Entry | None],
    vectors_MD: NDArray[np.float32],
    contents_MP: NDArray[np.float32],
    leaf_M: IntArray,
) -> Snapshot:
    """Makes the next state: table, vectors, eligibility, recommender and filters all follow from the entries.

    Args:
        snapshot: The state before.
        entries: The new entries by item id; None for a deleted item.
        vectors_MD: The vectors of the written items.
        contents_MP: The content vectors of the written items.
        leaf_M: The leaf of each written item, `NO_LEAF` for one that gets an added place.
    """
    if not entries:
        return snapshot
    table = _with_written_rows(snapshot.table, entries, leaf_M)
    item_vectors = snapshot.item_vectors.extended(vectors_MD)
    recommender = snapshot.recommender.with_written(
        item_vectors.rows,
        everything=_all_items(snapshot, table, entries),
        added_M=_new_places(snapshot.table, table)[leaf_M == NO_LEAF],
        place_of_leaf_N=table.place_of_leaf_N,
        is_foreign_S=table.is_foreign.rows,
    )
    return replace(
        snapshot,
        table=table,
        recommender=recommender,
        filters=snapshot.filters.with_table(table, recommender.prepared),
        item_vectors=item_vectors,
        row_contents=snapshot.row_contents.extended(contents_MP),
        entries=_joined_entries(snapshot, entries),
        published=snapshot.published or snapshot,
    )


def _with_written_rows(before: ItemTable, entries: Mapping[str, Entry | None], leaf_M: IntArray) -> ItemTable:
    """The table with a row for every written item, and without the deleted items."""
    removed = [item_id for item_id, entry in entries.items() if entry is None]
    written = [entry for entry in entries.values() if entry is not None]
    codes_ML = np.array([entry.semantic_id for entry in written], dtype=np.int64).reshape(-1, before.trie.num_levels)
    return before.with_changes(removed, [entry.put.item for entry in written], codes_ML, leaf_M)


def _new_places(before: ItemTable, after: ItemTable) -> IntArray:
    """The added places of the rows that `after` has more than `before`, shape (M,)."""
    places_M: IntArray = before.trie.num_leaves + np.arange(len(before.rows), len(after.rows))
    return places_M


def _all_items(snapshot: Snapshot, table: ItemTable, entries: Mapping[str, Entry | None]) -> Eligibility:
    """The eligibility of all items of the next state: bundle leaves that still hold their item, and added places."""
    before, everything = snapshot.table, snapshot.recommender.everything
    if table.leaf_state is not before.leaf_state:
        leaves_M = before.leaf_of_id.leaves([*entries])
        leaves_M = leaves_M[leaves_M != NO_LEAF]
        everything = everything.with_changes(leaves_M, table.place_of_leaf_N[leaves_M] == leaves_M)
    return everything.with_added(table.is_occupied.rows, table.num_added)


def _joined_entries(snapshot: Snapshot, entries: Mapping[str, Entry | None]) -> "HashTrieMap[str, Entry | None]":
    """All entries after the change; a deleted item that was never in the bundle leaves no entry."""
    in_bundle = snapshot.table.leaf_of_id
    kept = {item_id: entry for item_id, entry in entries.items() if entry is not None or item_id in in_bundle}
    known = snapshot.entries
    for item_id in entries.keys() - kept.keys():
        known = known.discard(item_id)
    return known.update(kept)
