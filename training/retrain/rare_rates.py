"""The learning rates of the rows of rare items: those that the bundle has learnt from few interactions, or from none.

A retraining takes few steps at a small rate, so that the networks forget little. The row of a new item would hardly
leave its start, which is the mean of its neighbours.

Shapes: N items, P prefixes.
"""

import numpy as np

from rqrec.models.array_types import FloatArray
from rqrec.models.bundle.bundle import Bundle
from rqrec.models.trie.trie import SemanticIdTrie
from rqrec.training.retrain.grown_model import OWN, PREFIXES, prefixes_of

ITEMS = "items.weight"  # of the short-term encoder
COMMON = 60  # a row that was learnt from as many interactions moves at the plain rate


def item_rates(bundle: Bundle, num_items: int, *, most: float) -> FloatArray:
    """Returns the multiple of the learning rate for the row of each item, float32, shape (N,).

    It falls with the square root of the number of interactions, from `most` to 1.

    Args:
        bundle: The bundle from which the retraining goes on. Its items are the first ones.
        num_items: N, the number of all items.
        most: The largest multiple, at least 1.
    """
    learnt_N = np.zeros(num_items, dtype=np.int64)
    learnt_N[: len(bundle.learned.popularity_R)] = bundle.learned.popularity_R
    return _rates(learnt_N, most)


def retriever_rates(bundle: Bundle, trie: SemanticIdTrie, *, most: float) -> dict[str, FloatArray]:
    """Returns the multiples for the retriever's tables, by name of the parameter.

    Args:
        bundle: The bundle from which the retraining goes on. Its items are the first rows of the catalogue.
        trie: The trie of all items.
        most: The largest multiple, at least 1.
    """
    rates = {}
    if bundle.manifest.retriever_config.num_items:
        rates[OWN] = item_rates(bundle, trie.num_leaves, most=most)
    if bundle.manifest.retriever_config.num_prefixes:
        keys, prefix_N = prefixes_of(trie)
        popularity_R = bundle.learned.popularity_R
        learnt_P = np.bincount(prefix_N[: len(popularity_R)], weights=popularity_R, minlength=len(keys))
        rates[PREFIXES] = _rates(learnt_P, most)
    return rates


def _rates(learnt: np.ndarray, most: float) -> FloatArray:
    return np.sqrt(COMMON / (1 + learnt)).clip(1, most).astype(np.float32)
