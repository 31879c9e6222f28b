"""The table of a replica's items: the place, the content and the semantic ID of every item.

The place of an item is its index in the catalogue. Places 0 to N - 1 are the leaves of the trie, one for each item of
the bundle (the published model). Every write of an item adds a row with its new content. Row s has a place of its own,
the added place N + s.

A written item normally gets the added place of its row. But if the item has a leaf and the search can still generate
its semantic ID there, its place remains this leaf, and only its content comes from the row. See
`service.catalogue.written_vectors.own_leaves`.

The table after a write shares the items of the bundle and all earlier rows with the table before it. So the cost of a
write depends mainly on the number of written items. But some arrays with a number for each leaf or row are
copied.

Shapes: N leaves, S rows and added places, P places that hold an item, L levels, M looked-up or written items.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import polars as pl
from rpds import HashTrieMap

from rqrec.models.array_types import Int32Array, IntArray
from rqrec.models.bundle.tables import ITEM_ID
from rqrec.models.growing_array import GrowingArray
from rqrec.models.trie.trie import NO_LEAF, SemanticIdTrie, pack_codes
from rqrec.service.catalogue.item import Item
from rqrec.service.catalogue.published.bundle_items import BundleItems
from rqrec.service.catalogue.published.leaf_index import LeafIndex

NO_ROW = -1
Codes = tuple[int, ...]


@dataclass(frozen=True, eq=False)
class ItemTable:
    """All items of one state of the catalogue: the place, the content and the semantic ID of each.

    The place of an item is its index in the catalogue: a leaf of the trie (0 to N - 1), or an added place (N + s) for
    the written item in row s.

    Attributes:
        trie: The trie of the semantic IDs of the bundle (the published model).
        bundle_items: The bundle's items, in the order of the leaves. Those of a large catalogue are made when needed.
        leaf_of_id: The leaf of each item of the bundle, by item id.
        place_of_leaf_N: For each leaf, the present place of its bundle item: the leaf itself, an added place if the
            item has moved, or `NO_LEAF` if it is deleted.
        row_of_leaf_N: For each leaf whose item was written and still has the leaf as its place, the row with its new
            content. `NO_ROW` for any other leaf: its item has the content of the bundle, or it holds no item any more.
        rows: The written item of each row, oldest first; also items that were written again or deleted later.
        row_codes: The semantic ID of each row's item, int64 of shape (S, L).
        is_foreign: For each row, whether its item is not in the bundle.
        is_occupied: For each row s, whether added place N + s holds an item now.
        num_occupied_leaves: The number of leaves that hold an item.
        num_added: The number of added places that hold an item.
        num_live_rows: The number of rows with the present content of an item.
        place_of_id: The places of the items that are not in the bundle, by item id.
        taken: The collision codes (last codes of semantic IDs) in use, by the L - 1 codes before them: bit c of the
            integer stands for collision code c. Only those L - 1 codes are listed with which an item was written or
            deleted; for all others the trie has the answer.
        state: An object made for this state of the catalogue. Tables with the same object (compared with `is`) are the
            same state, so a cached result for one of them is valid for the other.
        leaf_state: An object that is replaced whenever an item at a leaf changes. Tables with the same object
            (compared with `is`) have the same items, with the same content, at their leaves.
    """

    trie: SemanticIdTrie
    bundle_items: BundleItems
    leaf_of_id: LeafIndex
    place_of_leaf_N: Int32Array
    row_of_leaf_N: Int32Array
    rows: GrowingArray[np.object_]
    row_codes: GrowingArray[np.int64]
    is_foreign: GrowingArray[np.bool_]
    is_occupied: GrowingArray[np.bool_]
    num_occupied_leaves: int
    num_added: int = 0
    num_live_rows: int = 0
    place_of_id: "HashTrieMap[str, int]" = field(default_factory=HashTrieMap)
    taken: "HashTrieMap[Codes, int]" = field(default_factory=HashTrieMap)
    state: object = field(default_factory=object)
    leaf_state: object = field(default_factory=object)

    @classmethod
    def from_bundle(cls, items: pl.DataFrame, trie: SemanticIdTrie) -> "ItemTable":
        """Makes the table of a bundle (a published model), without later changes.

        Args:
            items: The bundle's items in the order of the bundle: `item_id` and the attributes. `as_shown` has
                converted their numbers to those that clients see.
            trie: The trie of the bundle's semantic IDs.
        """
        none, nothing = np.zeros(0, dtype=np.bool_), np.empty((0, trie.num_levels), dtype=np.int64)
        return cls(
            trie,
            BundleItems(items, trie.row_of_leaf_N),
            LeafIndex(items[ITEM_ID], trie.row_of_leaf_N),
            np.arange(trie.num_leaves, dtype=np.int32),
            np.full(trie.num_leaves, NO_ROW, dtype=np.int32),
            GrowingArray(np.empty(0, dtype=np.object_)),
            GrowingArray(nothing),
            GrowingArray(none),
            GrowingArray(none),
            trie.num_leaves,
        )

    def with_changes(
        self, removed: Sequence[str], written: Sequence[Item], codes_ML: IntArray, leaf_M: IntArray
    ) -> "ItemTable":
        """Returns the table in which some items are deleted and some are written. This table does not change.

        Args:
            removed: Ids of the deleted items; ids that are not in the table are ignored.
            written: The M written items. Each is new, or replaces the item with the same id.
            codes_ML: The semantic ID of each written item, int64.
            leaf_M: For each written item its leaf of the trie, if the item keeps this leaf as its place (its index in
                the catalogue). `NO_LEAF` if the item gets a place after all leaves instead; such items are searched
                beside the trie. `own_leaves` computes this array. int64.
        """
        # Here M counts the removed items first, then the written ones: each one's old place, bundle leaf and new place.
        ids = [*removed, *(item.item_id for item in written)]
        old_M, num_leaves, first = self.find(ids), self.trie.num_leaves, len(self.rows)
        home_M = self.leaf_of_id.leaves(ids)
        row_M = np.arange(first, first + len(written))
        is_added_M, nowhere = leaf_M == NO_LEAF, np.full(len(removed), NO_LEAF)
        place_M = np.concatenate([nowhere, np.where(is_added_M, num_leaves + row_M, leaf_M)]).astype(np.int64)
        # The rows that no item uses any more: at added places, and at leaves that had written content.
        gone_rows = old_M[old_M >= num_leaves] - num_leaves
        old_leaves = old_M[(old_M != NO_LEAF) & (old_M < num_leaves)]
        freed = len(gone_rows) + int(np.count_nonzero(self.row_of_leaf_N[old_leaves] != NO_ROW))
        items_M = np.empty(len(written), dtype=np.object_)
        items_M[:] = written
        is_foreign_M = home_M == NO_LEAF
        changed = replace(
            self,
            rows=self.rows.extended(items_M),
            row_codes=self.row_codes.extended(codes_ML),
            is_foreign=self.is_foreign.extended(is_foreign_M[len(removed) :]),
            is_occupied=_without(self.is_occupied, gone_rows).extended(is_added_M),
            num_added=self.num_added + int(np.count_nonzero(is_added_M)) - len(gone_rows),
            num_live_rows=self.num_live_rows + len(written) - freed,
            place_of_id=self._place_of_id(
                [item_id for item_id, leaf in zip(ids, home_M.tolist(), strict=True) if leaf == NO_LEAF],
                place_M[is_foreign_M],
            ),
            taken=self._taken(self.codes_of(old_M[old_M != NO_LEAF]), codes_ML),
            state=object(),
        )
        row_at_leaf_M = np.concatenate([nowhere, np.where(is_added_M, NO_ROW, row_M)])
        is_own_M = ~is_foreign_M
        return changed._with_leaves(home_M[is_own_M], place_M[is_own_M], row_at_leaf_M[is_own_M])

    def _with_leaves(self, leaves_M: IntArray, place_M: IntArray, row_M: IntArray) -> "ItemTable":
        """The table in which some leaves' bundle items have other places, or the content of other rows."""
        if not len(leaves_M):
            return self
        place_of_leaf_N, row_of_leaf_N = self.place_of_leaf_N.copy(), self.row_of_leaf_N.copy()
        place_of_leaf_N[leaves_M], row_of_leaf_N[leaves_M] = place_M, row_M
        change = np.count_nonzero(place_M == leaves_M) - np.count_nonzero(self.place_of_leaf_N[leaves_M] == leaves_M)
        return replace(
            self,
            place_of_leaf_N=place_of_leaf_N,
            row_of_leaf_N=row_of_leaf_N,
            num_occupied_leaves=self.num_occupied_leaves + int(change),
            leaf_state=object(),
        )

    def _place_of_id(self, ids: Sequence[str], place_M: IntArray) -> "HashTrieMap[str, int]":
        """`place_of_id` with other places for some items; `NO_LEAF` removes an item."""
        place_of_id = self.place_of_id
        for item_id, place in zip(ids, place_M.tolist(), strict=True):
            place_of_id = place_of_id.discard(item_id) if place == NO_LEAF else place_of_id.insert(item_id, place)
        return place_of_id

    def __len__(self) -> int:
        return self.num_occupied_leaves + self.num_added

    @cached_property
    def places(self) -> IntArray:
        """The places (indices in the catalogue) that hold an item, in ascending order; shape (P,)."""
        leaves_N = np.arange(self.trie.num_leaves)
        added = self.trie.num_leaves + np.flatnonzero(self.is_occupied.rows)
        return np.concatenate([leaves_N[self.place_of_leaf_N == leaves_N], added])

    def find(self, item_ids: Sequence[str]) -> IntArray:
        """Returns the place of each item, which is its index in the catalogue; int64 of shape (M,).

        The place is `NO_LEAF` (-1) if the catalogue does not contain the item.

        Args:
            item_ids: The ids of the M items.
        """
        leaf_M = self.leaf_of_id.leaves(item_ids)
        if not len(self.rows) and self.num_occupied_leaves == self.trie.num_leaves:
            return leaf_M
        place_M = np.where(leaf_M == NO_LEAF, NO_LEAF, self.place_of_leaf_N[leaf_M]).astype(np.int64)
        if self.place_of_id:
            for number in np.flatnonzero(leaf_M == NO_LEAF).tolist():
                place_M[number] = self.place_of_id.get(item_ids[number], NO_LEAF)
        return place_M

    def items(self, places_M: IntArray) -> list[Item]:
        """Returns the item at each place, in the order of the places.

        Args:
            places_M: Places (indices in the catalogue). Each must hold an item.
        """
        bundle_items, rows = self.bundle_items, self.rows.rows
        if not len(rows):
            return bundle_items.at(places_M)
        row_M = self.rows_of(places_M)
        published = iter(bundle_items.at(places_M[row_M == NO_ROW]))
        return [next(published) if row == NO_ROW else rows[row] for row in row_M.tolist()]

    def rows_of(self, places_M: IntArray) -> IntArray:
        """Returns the row with the content of the item at each of M places; `NO_ROW` if it is that of the bundle."""
        is_leaf_M = places_M < self.trie.num_leaves
        rows_M = self.row_of_leaf_N[np.where(is_leaf_M, places_M, 0)]
        return np.where(is_leaf_M, rows_M, places_M - self.trie.num_leaves).astype(np.int64)

    def codes_of(self, places_M: IntArray) -> IntArray:
        """Returns the semantic ID of the item at each place, int64 of shape (M, L).

        Args:
            places_M: Places (indices in the catalogue). Each must hold an item.
        """
        if not len(self.rows):
            return self.trie.codes_of(places_M)
        num_leaves = self.trie.num_leaves
        is_leaf_M = places_M < num_leaves
        codes_ML = np.empty((len(places_M), self.trie.num_levels), dtype=np.int64)
        codes_ML[is_leaf_M] = self.trie.codes_of(places_M[is_leaf_M])
        codes_ML[~is_leaf_M] = self.row_codes.rows[places_M[~is_leaf_M] - num_leaves]
        return codes_ML

    def below(self, prefix: Sequence[int]) -> IntArray:
        """Finds the items whose semantic IDs begin with some codes.

        Returns their places (indices in the catalogue) as int64, sorted by semantic ID.

        Args:
            prefix: The first codes of the semantic IDs.
        """
        first, last = self.trie.leaf_range(prefix)
        leaves: IntArray = np.arange(first, last)
        leaves = leaves[self.place_of_leaf_N[first:last] == leaves]
        if len(prefix) > self.trie.num_levels:
            return leaves
        is_below_S = self.is_occupied.rows.copy()
        for level, code in enumerate(prefix):
            is_below_S &= self.row_codes.rows[:, level] == code
        if not is_below_S.any():
            return leaves
        places: IntArray = np.concatenate([leaves, self.trie.num_leaves + np.flatnonzero(is_below_S)])
        return places[np.lexsort(self.codes_of(places).T[::-1])]

    def taken_below(self, prefixes: Sequence[Codes]) -> list[int]:
        """Returns which collision codes (last codes of semantic IDs) are in use together with some prefixes.

        Args:
            prefixes: Prefixes of semantic IDs, each of L - 1 codes.

        Returns:
            An integer for each prefix: bit c is set if the semantic ID of an item is the prefix followed by c.
        """
        trie, known = self.trie, [self.taken.get(prefix) for prefix in prefixes]
        if None not in known or not prefixes:
            return [bits or 0 for bits in known]
        size = trie.codebook_size
        begin_M = pack_codes(np.array(prefixes, dtype=np.int64).reshape(len(prefixes), -1), size) * size
        ranges = zip(*np.searchsorted(trie.keys_N, [begin_M, begin_M + size]).tolist(), strict=True)
        return [
            sum(1 << code for code in (trie.keys_N[first:last] % size).tolist()) if bits is None else bits
            for bits, (first, last) in zip(known, ranges, strict=True)
        ]

    def _taken(self, vacated_ML: IntArray, codes_ML: IntArray) -> "HashTrieMap[Codes, int]":
        """`taken` after some semantic IDs were freed and others were given."""
        changes = [((*prefix,), last, False) for *prefix, last in vacated_ML.tolist()]
        changes += [((*prefix,), last, True) for *prefix, last in codes_ML.tolist()]
        prefixes = list(dict.fromkeys(prefix for prefix, _, _ in changes))
        taken = dict(zip(prefixes, self.taken_below(prefixes), strict=True))
        for prefix, last, is_taken in changes:
            taken[prefix] = taken[prefix] | 1 << last if is_taken else taken[prefix] & ~(1 << last)
        return self.taken.update(taken)


def _without(is_occupied: GrowingArray[np.bool_], rows: IntArray) -> GrowingArray[np.bool_]:
    """The array with False at some rows."""
    if not len(rows):
        return is_occupied
    is_occupied_S = is_occupied.rows.copy()
    is_occupied_S[rows] = False
    return GrowingArray(is_occupied_S)
