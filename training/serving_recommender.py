"""The trained retriever as a `Recommender`, the class that the service asks too.

Shapes: N items, E feature columns, P content width, D item vector width.
"""

import numpy as np
import torch
from numpy.typing import NDArray

from rqrec.models.retriever.retriever import CatalogueTensors, Retriever
from rqrec.models.search.new_items import NewItems
from rqrec.models.search.recommender import Recommender
from rqrec.models.search.torch_engine import TorchEngine
from rqrec.models.trie.trie import SemanticIdTrie
from rqrec.training.features.content import fit_content, with_new_items
from rqrec.training.features.features import Features
from rqrec.training.runtime.device import training_device
from rqrec.training.runtime.workspace import Stage
from rqrec.training.tokenize_items import load_semantic_ids
from rqrec.training.train_decoder import load_retriever


def load_recommender(tokens: Stage, decoder: Stage, features: Features, popularity_N: NDArray[np.int64]) -> Recommender:
    """The trained retriever as the service asks it, over items with these features and counts by item_index."""
    ids = load_semantic_ids(tokens)
    trie = SemanticIdTrie.build(ids.codes_NL, codebook_size=ids.codebook_size)
    retriever = load_retriever(decoder).to(training_device())
    vectors_ND = item_vectors(retriever, trie, features, fit_content(features), popularity_N)
    return make_recommender(retriever, trie, vectors_ND, popularity_N)


def make_recommender(
    retriever: Retriever,
    trie: SemanticIdTrie,
    item_vectors_ND: NDArray[np.float32],
    popularity_N: NDArray[np.int64],
) -> Recommender:
    """A retriever as the service asks it, over items whose vectors and counts are given by item_index."""
    device = next(retriever.parameters()).device
    vectors_ND, popularity_N = item_vectors_ND[trie.row_of_leaf_N], popularity_N[trie.row_of_leaf_N]
    return Recommender(
        TorchEngine(retriever, trie, torch.from_numpy(vectors_ND), device=device),
        trie,
        max_history=retriever.config.max_history,
        popularity_N=popularity_N,
        new_items=NewItems.from_mask(popularity_N == 0, vectors_ND, relevance_weight=retriever.config.relevance_weight),
    )


def item_vectors(
    retriever: Retriever,
    trie: SemanticIdTrie,
    features: Features,
    projection_EP: NDArray[np.float32],
    popularity_N: NDArray[np.int64],
) -> NDArray[np.float32]:
    """What the search reads of each item, by item_index: as trained, or by content where nobody chose it."""
    device = next(retriever.parameters()).device
    trained_ND = retriever.item_vectors(CatalogueTensors.from_trie(trie, features.features_NE, popularity_N, device))
    return with_new_items(trained_ND.cpu().numpy()[trie.leaf_of_row_N], features, projection_EP, popularity_N)
