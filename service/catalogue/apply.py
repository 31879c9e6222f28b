"""What changes of the catalogue add up to.

Every replica applies the same changes in the same order to the same bundle; what comes of them depends on nothing else,
the collision codes included. So no two items ever get one semantic ID, and all replicas agree.

Shapes: M written items, L levels, D width.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import polars as pl
from numpy.typing import NDArray

from rqrec.models.array_types import IntArray
from rqrec.models.items.item_tokenizer import ItemTokenizer
from rqrec.models.trie.trie import NO_LEAF
from rqrec.service.catalogue.changes import BadChange, Change, Entry, Outcome, Put
from rqrec.service.catalogue.collision_allocator import CollisionAllocator
from rqrec.service.catalogue.item import frame_of, is_unicode
from rqrec.service.catalogue.item_table import ItemTable
from rqrec.service.catalogue.snapshot import Snapshot

LOST_ROWS_SHARE = 0.25  # of the rows in use: so seldom are all of them copied


def check(change: Change, snapshot: Snapshot, tokenizer: ItemTokenizer) -> None:
    """Lets a change pass that can be applied.

    Raises:
        BadChange: If it was made for another model, or by other software.
    """
    if not is_unicode(change.item_id):
        raise BadChange(f"expected an item_id that UTF-8 can spell, got {change.item_id!r}")
    if isinstance(change, Put):
        _check_put(change, snapshot, tokenizer)


def _check_put(put: Put, snapshot: Snapshot, tokenizer: ItemTokenizer) -> None:
    trie, width = snapshot.trie, tokenizer.featurizer.width
    if len(put.codes) != trie.num_levels - 1 or not all(0 <= code < trie.codebook_size for code in put.codes):
        raise BadChange(f"expected {trie.num_levels - 1} codes in [0, {trie.codebook_size}), got {put.codes}")
    if len(put.features) != width * np.dtype(np.float32).itemsize:
        raise BadChange(f"expected {width} features, got {len(put.features)} bytes")
    if not np.isfinite(np.frombuffer(put.features, dtype=np.float32)).all():
        raise BadChange("expected finite features, got infinite ones or none")
    try:
        frame_of([put.item], snapshot.filters.schema)
    except (pl.exceptions.PolarsError, UnicodeError) as error:
        raise BadChange(f"expected a payload of the catalogue's attributes, got another one: {error}") from error


def apply_changes(
    snapshot: Snapshot, changes: Sequence[Change], tokenizer: ItemTokenizer, *, catalogue_version: int
) -> tuple[Snapshot, list[Outcome]]:
    """The state after changes in their order, and what came of each; the given state stays as it is.

    Args:
        snapshot: The state before.
        changes: That `check` lets pass.
        tokenizer: Makes the new items' vectors.
        catalogue_version: Of the state after.
    """
    ledger = CollisionAllocator(snapshot.table)
    outcomes = [ledger.apply(change) for change in changes]
    return with_entries(snapshot, ledger.entries, tokenizer, catalogue_version=catalogue_version), outcomes


def with_entries(
    snapshot: Snapshot, entries: Mapping[str, Entry | None], tokenizer: ItemTokenizer, *, catalogue_version: int
) -> Snapshot:
    """The state in which some items are as their entries say. It costs what it changes, not the catalogue.

    Args:
        snapshot: The state before.
        entries: By item; None for one that is not there any more.
        tokenizer: Makes their vectors.
        catalogue_version: Of the state after.
    """
    written, table = [entry for entry in entries.values() if entry is not None], snapshot.table
    vectors_MD, leaf_M = _vectors(written, table, tokenizer), _own_leaves(written, table, tokenizer)
    return replace(_with_changes(snapshot, entries, vectors_MD, leaf_M), catalogue_version=catalogue_version)


def compacted(snapshot: Snapshot, *, at_least: int) -> Snapshot:
    """The same state without the rows that no item stands for any more, if there are so many.

    Args:
        snapshot: The state.
        at_least: Rows; where many are in use, a share of these.
    """
    table, published = snapshot.table, snapshot.published
    lost = len(table.rows) - table.num_live_rows
    if published is None or lost < max(at_least, LOST_ROWS_SHARE * table.num_live_rows):
        return snapshot
    places_M = table.find([item_id for item_id, entry in snapshot.entries.items() if entry is not None])
    leaf_M = np.where(places_M < table.trie.num_leaves, places_M, NO_LEAF)
    compact = _with_changes(published, snapshot.entries, snapshot.item_vectors.rows[places_M], leaf_M)
    return replace(compact, catalogue_version=snapshot.catalogue_version)


def _with_changes(
    snapshot: Snapshot, entries: Mapping[str, Entry | None], vectors_MD: NDArray[np.float32], leaf_M: IntArray
) -> Snapshot:
    """The one way from a state to the next: table, recommender and filters follow from the entries.

    Args:
        snapshot: The state before.
        entries: What is written, None for what is taken out.
        vectors_MD: Of what is written.
        leaf_M: See `ItemTable.with_changes`.
    """
    if not entries:
        return snapshot
    before = snapshot.table
    written = [entry for entry in entries.values() if entry is not None]
    removed = [item_id for item_id, entry in entries.items() if entry is None]
    codes_ML = np.array([entry.semantic_id for entry in written], dtype=np.int64).reshape(-1, before.trie.num_levels)
    table = before.with_changes(removed, [entry.put.item for entry in written], codes_ML, leaf_M)
    item_vectors = snapshot.item_vectors.extended(vectors_MD)
    places_M = before.trie.num_leaves + np.arange(len(before.rows), len(table.rows))
    everything = snapshot.recommender.everything
    if table.leaf_state is not before.leaf_state:
        bundle_leaves = np.array([before.leaf_of_id[one] for one in entries if one in before.leaf_of_id])
        everything = everything.with_changes(bundle_leaves, table.place_of_leaf_N[bundle_leaves] == bundle_leaves)
    recommender = snapshot.recommender.with_written(
        item_vectors.rows,
        everything=everything.with_added(table.is_there.rows, table.num_added),
        added_M=places_M[leaf_M == NO_LEAF],
        place_of_leaf_N=table.place_of_leaf_N,
        is_foreign_S=table.is_foreign.rows,
    )
    # What is deleted and was never in the bundle is forgotten.
    kept = {one: entry for one, entry in entries.items() if entry is not None or one in before.leaf_of_id}
    known = snapshot.entries
    for item_id in entries.keys() - kept.keys():
        known = known.discard(item_id)
    return replace(
        snapshot,
        table=table,
        recommender=recommender,
        filters=snapshot.filters.with_table(table, recommender.prepared),
        item_vectors=item_vectors,
        entries=known.update(kept),
        published=snapshot.published or snapshot,
    )


def _own_leaves(written: Sequence[Entry], table: ItemTable, tokenizer: ItemTokenizer) -> IntArray:
    """The leaves of items that the search finds as they are: training knew them, under the same semantic ID."""
    leaf_M = _known_leaves(written, table, tokenizer)
    known = np.flatnonzero(leaf_M != NO_LEAF)
    codes = [written[number].semantic_id for number in known.tolist()]
    codes_XL = np.array(codes, dtype=np.int64).reshape(-1, table.trie.num_levels)
    has_moved_X = (table.trie.codes_of(leaf_M[known]) != codes_XL).any(axis=1)
    leaf_M[known[has_moved_X]] = NO_LEAF
    return leaf_M


def _known_leaves(written: Sequence[Entry], table: ItemTable, tokenizer: ItemTokenizer) -> IntArray:
    """The leaves at which training knew the items, `NO_LEAF` for others."""
    leaf_M = np.array([table.leaf_of_id.get(one.put.item_id, NO_LEAF) for one in written], dtype=np.int64)
    return np.where(tokenizer.is_known_R[table.trie.row_of_leaf_N[leaf_M]], leaf_M, NO_LEAF)


def _vectors(written: Sequence[Entry], table: ItemTable, tokenizer: ItemTokenizer) -> NDArray[np.float32]:
    """The items' vectors: what training knew keeps the vector that its users gave it, whatever is written of it."""
    leaf_M = _known_leaves(written, table, tokenizer)
    vectors_MD = tokenizer.vectors_RD[table.trie.row_of_leaf_N[leaf_M]]
    unknown = np.flatnonzero(leaf_M == NO_LEAF)
    if len(unknown):
        features = [np.frombuffer(written[number].put.features, dtype=np.float32) for number in unknown.tolist()]
        vectors_MD[unknown] = tokenizer.vectors(np.stack(features))
    return vectors_MD
