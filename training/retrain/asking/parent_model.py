"""The model of a bundle, to which new items were written, as it is asked about new interactions.

Shapes: N items, R items of the bundle, D width of an item vector.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rqrec.models.array_types import FloatArray
from rqrec.models.bundle.bundle import Bundle
from rqrec.models.items.known_neighbours import known_neighbours
from rqrec.models.retriever.retriever import Retriever
from rqrec.models.search.history.transitions import Transitions
from rqrec.models.search.recommender import Recommender
from rqrec.models.trie.trie import SemanticIdTrie
from rqrec.training.features.features import Features
from rqrec.training.retrain.counted import grown_transitions
from rqrec.training.retrain.grown_model import bundle_retriever
from rqrec.training.runtime.device import training_device
from rqrec.training.serving_recommender import make_recommender
from rqrec.training.tokenize_items import SemanticIds


@dataclass(frozen=True)
class ParentModel:
    """The model of a bundle, and all items. The items of the bundle are the first ones; the others are new.

    Attributes:
        bundle: The bundle.
        retriever: Its retriever, on the device of the training and in evaluation mode.
        trie: The trie of all items.
        vectors_ND: Item vectors by item_index. A new item has a vector from its content, as in the service.
        transitions: The items that followed each item, by item_index; None if the bundle has no such table.
    """

    bundle: Bundle
    retriever: Retriever
    trie: SemanticIdTrie
    vectors_ND: FloatArray
    transitions: Transitions | None

    @classmethod
    def load(cls, bundle: Bundle, features: Features, ids: SemanticIds) -> "ParentModel":
        """Reads the model of a bundle.

        Args:
            bundle: The bundle.
            features: The features of all items.
            ids: The semantic IDs of all items.
        """
        new_MD = known_neighbours(bundle).vectors(features.features_NE[len(bundle.items) :])
        return cls(
            bundle,
            bundle_retriever(bundle).to(training_device()),
            SemanticIdTrie.build(ids.codes_NL, codebook_size=ids.codebook_size),
            np.concatenate([bundle.learned.vectors_RD, new_MD]),
            grown_transitions(bundle, len(features.features_NE)),
        )

    def recommender(self) -> Recommender:
        """Makes the recommender that serves this model."""
        return make_recommender(
            self.retriever,
            self.trie,
            self.vectors_ND,
            self._popularity_N,
            self.bundle.manifest.history_bonus,
            self.transitions,
        )

    @property
    def _popularity_N(self) -> NDArray[np.int64]:
        known_R = self.bundle.learned.popularity_R
        return np.append(known_R, np.zeros(len(self.vectors_ND) - len(known_R), dtype=np.int64))
