"""One immutable state of a model and its catalogue. A request reads all its data from one state."""

from dataclasses import dataclass, field

import numpy as np
from rpds import HashTrieMap

from rqrec.models.growing_array import GrowingArray
from rqrec.models.search.recommender import Recommender
from rqrec.models.trie.trie import SemanticIdTrie
from rqrec.service.catalogue.changes import Entry
from rqrec.service.catalogue.filters import Filters
from rqrec.service.catalogue.item_table import ItemTable


@dataclass(frozen=True, eq=False)
class Snapshot:
    """One state of a model and its catalogue.

    A request takes one snapshot at its start and keeps it to its end. So no answer mixes two states.

    Attributes:
        version: The version of the model.
        catalogue_version: The number of changes since the model was published.
        table: All items. The place of an item in it is its index in the catalogue.
        recommender: Finds the best items for a history; items are given by their places.
        filters: Finds the items that meet the conditions of a filter.
        item_vectors: The vector of the item at each place, float32 of shape (places, W).
        compared_width: The number of columns of these vectors, the first ones, by which items are compared.
        row_contents: The content vector of the written item in each row of the table, float32 of shape (S, P).
        entries: The items written since the model was published, by item id; None for a deleted item of the published
            model.
        published: The state of the published model, before the first change. None if this state has no changes yet.
        exclude_history: Whether items of the user's history are left out of the recommendations. A request can set this
            itself; then the value here has no effect.
    """

    version: str
    catalogue_version: int
    table: ItemTable
    recommender: Recommender
    filters: Filters
    item_vectors: GrowingArray[np.float32]
    compared_width: int
    row_contents: GrowingArray[np.float32]
    entries: "HashTrieMap[str, Entry | None]" = field(default_factory=HashTrieMap)
    published: "Snapshot | None" = None
    exclude_history: bool = True

    @property
    def trie(self) -> SemanticIdTrie:
        """The trie of the semantic IDs of the published model's items."""
        return self.table.trie
