"""Makes a `Recommender`, the class that the service uses, from a trained retriever.

Shapes: N items, E feature columns, P content width, D item vector width.
"""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from rqrec.models.retriever.catalogue_tensors import CatalogueTensors
from rqrec.models.retriever.retriever import Retriever
from rqrec.models.search.history.bonus import NO_BONUS, HistoryBonus
from rqrec.models.search.history.own_items import OwnItems
from rqrec.models.search.history.transitions import Transitions
from rqrec.models.search.new.new_items import NewItems
from rqrec.models.search.onnx_engine import OnnxEngine
from rqrec.models.search.recommender import Recommender, SearchEngine
from rqrec.models.search.torch_engine import TorchEngine
from rqrec.models.trie.trie import SemanticIdTrie
from rqrec.training.features.content import fit_content, with_new_items
from rqrec.training.features.features import Features
from rqrec.training.runtime.device import training_device
from rqrec.training.runtime.workspace import Stage
from rqrec.training.tokenize_items import load_semantic_ids
from rqrec.training.train_decoder import load_history_bonus, load_retriever, load_transitions


def load_recommender(tokens: Stage, decoder: Stage, features: Features, popularity_N: NDArray[np.int64]) -> Recommender:
    """Loads the trained retriever, and makes a recommender of all items of its data set.

    Args:
        tokens: The result of `tokenize_items`: the semantic IDs of all items.
        decoder: The result of `train_decoder`: the trained retriever.
        features: The items' features.
        popularity_N: Number of training interactions of each item, by item_index.
    """
    ids = load_semantic_ids(tokens)
    trie = SemanticIdTrie.build(ids.codes_NL, codebook_size=ids.codebook_size)
    retriever = load_retriever(decoder).to(training_device())
    vectors_ND = item_vectors(retriever, trie, features, fit_content(features), popularity_N)
    bonus, transitions = load_history_bonus(decoder), load_transitions(decoder)
    return make_recommender(retriever, trie, vectors_ND, popularity_N, bonus, transitions)


def make_recommender(
    retriever: Retriever,
    trie: SemanticIdTrie,
    item_vectors_ND: NDArray[np.float32],
    popularity_N: NDArray[np.int64],
    bonus: HistoryBonus = NO_BONUS,
    transitions: Transitions | None = None,
    graph: Path | None = None,
) -> Recommender:
    """Makes a recommender from a trained retriever and the items to recommend.

    Args:
        retriever: The trained retriever, in evaluation mode.
        trie: The trie of the items' semantic IDs.
        item_vectors_ND: Item vectors by item_index; see `item_vectors`.
        popularity_N: Number of training interactions of each item, by item_index. Items with 0 are new items, which the
            retriever did not learn to generate. They are found by their vectors instead (see
            `models.search.new.new_items`).
        bonus: The bonus of the candidates that a user's history points at; by default none are added.
        transitions: The items that followed each item in the training data, by item_index; None if they are no
            candidates.
        graph: The ONNX file of the retriever's search, to search with ONNX Runtime; None to search with PyTorch.
    """
    device = next(retriever.parameters()).device
    vectors_ND, popularity_N = item_vectors_ND[trie.row_of_leaf_N], popularity_N[trie.row_of_leaf_N]
    is_new_N, weight = popularity_N == 0, retriever.config.relevance_weight
    by_leaf = None if transitions is None else transitions.reordered(trie.row_of_leaf_N)
    own, following = bonus.own, bonus.following_items(by_leaf)
    engine: SearchEngine
    if graph is None:
        engine = TorchEngine(retriever, trie, torch.from_numpy(vectors_ND), device=device, following=following)
    else:
        engine = OnnxEngine(graph, trie, vectors_ND, following=following)
    return Recommender(
        engine,
        trie,
        max_history=retriever.config.max_history,
        popularity_N=popularity_N,
        new_items=NewItems.from_mask(is_new_N, vectors_ND, relevance_weight=weight),
        own_items=None if own is None else OwnItems(own, is_new_N, vectors_ND, relevance_weight=weight),
    )


def item_vectors(
    retriever: Retriever,
    trie: SemanticIdTrie,
    features: Features,
    projection_EP: NDArray[np.float32],
    popularity_N: NDArray[np.int64],
) -> NDArray[np.float32]:
    """Computes the item vectors that the search reads.

    An item with training interactions has its trained vector. Any other item gets a mean vector of items with similar
    content.

    Args:
        retriever: The trained retriever, in evaluation mode.
        trie: The trie of the items' semantic IDs.
        features: The items' features.
        projection_EP: The matrix that projects features to content vectors; see
            `training.features.content.fit_content`.
        popularity_N: Number of training interactions of each item, by item_index.

    Returns:
        Vectors by item_index, float32, shape (N, D).
    """
    device = next(retriever.parameters()).device
    trained_ND = retriever.item_vectors(CatalogueTensors.from_trie(trie, features.features_NE, popularity_N, device))
    return with_new_items(
        trained_ND.cpu().numpy()[trie.leaf_of_row_N],
        features,
        projection_EP,
        popularity_N,
        part_widths=retriever.config.part_widths,
    )
