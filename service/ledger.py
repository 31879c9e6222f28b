"""What changes of the catalogue add up to.

Every replica applies the same changes in the same order to the same bundle; what comes of them depends on nothing else,
the collision codes included. So no two items ever get one semantic ID, and all replicas agree.

Shapes: N leaves, R rows, M new rows, E feature columns, D width.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from models.item_tokenizer import ItemTokenizer
from models.trie import NO_LEAF
from service.changes import BadChange, Change, Codes, Delete, Entry, Outcome, Result
from service.snapshot import Snapshot
from service.table import ItemTable, frame_of


def check(change: Change, snapshot: Snapshot, tokenizer: ItemTokenizer) -> None:
    """Lets a change pass that can be applied.

    Raises:
        BadChange: If it was made for another model.
    """
    if isinstance(change, Delete):
        return
    trie, width = snapshot.trie, tokenizer.featurizer.width
    if len(change.codes) != trie.num_levels - 1 or not all(0 <= code < trie.codebook_size for code in change.codes):
        raise BadChange(f"expected {trie.num_levels - 1} codes in [0, {trie.codebook_size}), got {change.codes}")
    if len(change.features) != width * np.dtype(np.float32).itemsize:
        raise BadChange(f"expected {width} features, got {len(change.features)} bytes")


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
    ledger = _Ledger(snapshot)
    outcomes = [ledger.apply(change) for change in changes]
    return with_entries(snapshot, ledger.entries, tokenizer, catalogue_version=catalogue_version), outcomes


def with_entries(
    snapshot: Snapshot, entries: Mapping[str, Entry | None], tokenizer: ItemTokenizer, *, catalogue_version: int
) -> Snapshot:
    """The state in which some items are as their entries say.

    Args:
        snapshot: The state before.
        entries: By item; None for one that is not there any more.
        tokenizer: Makes their vectors.
        catalogue_version: Of the state after.
    """
    if not entries:
        return replace(snapshot, catalogue_version=catalogue_version)
    table, first_row = snapshot.table, len(snapshot.table.rows)
    written = [entry for entry in entries.values() if entry is not None]
    items = [entry.put.item for entry in written]
    old_leaves_M = table.find(list(entries))
    trie = snapshot.trie.changed(
        inserted_ML=np.array([entry.semantic_id for entry in written], dtype=np.int64) if written else None,
        inserted_rows_M=np.arange(first_row, first_row + len(written)),
        deleted_leaves=np.sort(old_leaves_M[old_leaves_M >= 0]),
    )
    # An item that is replaced stays as popular as it was.
    old_rows = [table.row(item.item_id) for item in items]
    popularity_M = [0 if row is None else snapshot.popularity_R[row] for row in old_rows]
    popularity_R = np.append(snapshot.popularity_R, np.array(popularity_M, dtype=np.int64))
    rows_N = trie.row_of_leaf_N
    is_added_N = rows_N >= first_row
    vectors_ND = np.empty((trie.num_leaves, snapshot.item_vectors_ND.shape[1]), dtype=np.float32)
    vectors_ND[~is_added_N] = snapshot.item_vectors_ND[table.leaf_of_row[rows_N[~is_added_N]]]
    vectors_MD, is_new_M = _vectors(written, table, tokenizer)
    vectors_ND[is_added_N] = vectors_MD[rows_N[is_added_N] - first_row]
    is_new_R = np.append(snapshot.is_new_R, is_new_M)
    return replace(
        snapshot,
        catalogue_version=catalogue_version,
        table=table.changed(trie, items, [item_id for item_id, entry in entries.items() if entry is None]),
        recommender=snapshot.recommender.over(trie, vectors_ND, popularity_R[rows_N], is_new_R[rows_N]),
        filters=snapshot.filters.over(frame_of(items, snapshot.filters.schema), trie),
        item_vectors_ND=vectors_ND,
        popularity_R=popularity_R,
        is_new_R=is_new_R,
        entries={**snapshot.entries, **entries},
    )


def without_lost_rows(snapshot: Snapshot, *, at_least: int) -> Snapshot:
    """The same state without the rows that no leaf names any more, if there are so many; the bundle's rows stay."""
    table, rows_N = snapshot.table, snapshot.trie.row_of_leaf_N
    written = sum(entry is not None for entry in snapshot.entries.values())
    if len(table.rows) - len(table.first_rows) - written < at_least:
        return snapshot
    is_kept_R = np.zeros(len(table.rows), dtype=np.bool_)
    is_kept_R[: len(table.first_rows)] = True
    is_kept_R[rows_N] = True
    new_row_R = np.cumsum(is_kept_R) - 1
    trie = replace(snapshot.trie, row_of_leaf_N=new_row_R[rows_N].astype(np.int32))
    popularity_R, is_new_R = snapshot.popularity_R[is_kept_R], snapshot.is_new_R[is_kept_R]
    rows_N = trie.row_of_leaf_N
    return replace(
        snapshot,
        table=table.kept(trie, is_kept_R, new_row_R),
        recommender=snapshot.recommender.over(trie, snapshot.item_vectors_ND, popularity_R[rows_N], is_new_R[rows_N]),
        filters=snapshot.filters.kept(is_kept_R, trie),
        popularity_R=popularity_R,
        is_new_R=is_new_R,
    )


def _vectors(
    written: Sequence[Entry], table: ItemTable, tokenizer: ItemTokenizer
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """The items' vectors, and whether the model never learnt to generate them.

    What training knew keeps the vector that its users gave it, whatever is written of it; under another semantic ID it
    has to be generated like a new item all the same.
    """
    vectors_MD = np.zeros((len(written), tokenizer.vectors_RD.shape[1]), dtype=np.float32)
    is_new_M = np.ones(len(written), dtype=np.bool_)
    unknown = []
    for place, entry in enumerate(written):
        row = table.first_rows.get(entry.put.item_id)
        if row is None or not tokenizer.is_known_R[row]:
            unknown.append(place)
        else:
            vectors_MD[place] = tokenizer.vectors_RD[row]
            is_new_M[place] = tuple(tokenizer.codes_RL[row].tolist()) != entry.semantic_id
    if unknown:
        features = [np.frombuffer(written[place].put.features, dtype=np.float32) for place in unknown]
        vectors_MD[unknown] = tokenizer.vectors(np.stack(features))
    return vectors_MD, is_new_M


class _Ledger:
    """Which semantic ID every change leads to, one after the other."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.entries: dict[str, Entry | None] = {}
        self._snapshot = snapshot
        self._count = len(snapshot.table)
        self._taken: dict[Codes, set[int]] = {}

    def apply(self, change: Change) -> Outcome:
        if isinstance(change, Delete):
            return self._delete(change.item_id)
        old = self._semantic_id(change.item_id)
        if old is not None and old[:-1] == change.codes:
            semantic_id = old
        else:
            taken = self._taken_below(change.codes)
            free = next((code for code in range(self._snapshot.trie.codebook_size) if code not in taken), None)
            if free is None:
                return Outcome(Result.PREFIX_FULL)
            taken.add(free)
            semantic_id = (*change.codes, free)
            if old is None:
                self._count += 1
            else:
                self._taken_below(old[:-1]).discard(old[-1])
        self.entries[change.item_id] = Entry(change, semantic_id)
        return Outcome(Result.ADDED if old is None else Result.REPLACED, semantic_id)

    def _delete(self, item_id: str) -> Outcome:
        old = self._semantic_id(item_id)
        if old is None:
            return Outcome(Result.UNKNOWN_ITEM)
        if self._count == 1:
            return Outcome(Result.LAST_ITEM)
        self._count -= 1
        self._taken_below(old[:-1]).discard(old[-1])
        self.entries[item_id] = None
        return Outcome(Result.DELETED)

    def _semantic_id(self, item_id: str) -> Codes | None:
        if item_id in self.entries:
            entry = self.entries[item_id]
            return None if entry is None else entry.semantic_id
        leaf = self._snapshot.table.find([item_id])
        return None if leaf[0] == NO_LEAF else tuple(self._snapshot.trie.codes_of(leaf)[0].tolist())

    def _taken_below(self, prefix: Codes) -> set[int]:
        taken = self._taken.get(prefix)
        if taken is None:
            trie = self._snapshot.trie
            leaves = np.arange(*trie.leaf_range(prefix))
            taken = self._taken[prefix] = set(trie.codes_of(leaves)[:, -1].tolist())
        return taken
