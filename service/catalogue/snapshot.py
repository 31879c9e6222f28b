"""One state of a model and its catalogue: all that answers a request, never changed."""

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
    """What a request pins from start to end, so that no answer mixes two states.

    Attributes:
        version: The model's.
        catalogue_version: Changes since the bundle was published.
        table: Items and places.
        recommender: Histories of places to the best places.
        filters: Conditions to places.
        item_vectors: What the search reads of each place.
        entries: The items written since the bundle was published, None for those of the bundle that were deleted.
        published: The state that the bundle was published with; None where that is this one.
    """

    version: str
    catalogue_version: int
    table: ItemTable
    recommender: Recommender
    filters: Filters
    item_vectors: GrowingArray[np.float32]
    entries: "HashTrieMap[str, Entry | None]" = field(default_factory=HashTrieMap)
    published: "Snapshot | None" = None

    @property
    def trie(self) -> SemanticIdTrie:
        """The semantic IDs of the bundle."""
        return self.table.trie
