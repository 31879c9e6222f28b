"""Item vectors from training sequences: items that the same users chose within a few steps have similar vectors.

Shapes: N items, E vector dimensions.
"""

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from sklearn.preprocessing import normalize

from rqrec.training.data.splits import Sequences
from rqrec.training.features.svd import fit_svd

WINDOW = 10
SMOOTHING = 0.75  # exponent of the context counts, so that rare items do not dominate (Levy et al. 2015)


def cooccurrence_vectors(train: Sequences, num_items: int, *, dim: int, seed: int) -> NDArray[np.float32]:
    """Computes item vectors from user sequences: an SVD of the positive pointwise mutual information (PPMI) of items.

    Two items occur together if they are at most 10 steps apart in a sequence. Levy and Goldberg (2014) show that
    word2vec with negative sampling approximates this factorisation.

    Args:
        train: Training sequences of item_index.
        num_items: N, the number of items in the catalogue.
        dim: Largest number E of vector dimensions.
        seed: Seed of the SVD.

    Returns:
        Item vectors by item_index, float32, shape (N, E), each of length 1. The vector of an item that never occurs
        together with another item is zero.
    """
    counts = _window_counts(train, num_items)
    total = counts.sum()
    if total == 0:
        return np.zeros((num_items, 1), dtype=np.float32)
    items_N = np.asarray(counts.sum(axis=1)).ravel()
    contexts_N = items_N**SMOOTHING
    pairs = counts.tocoo()
    expected = items_N[pairs.row] * contexts_N[pairs.col] / contexts_N.sum()
    information = np.log(pairs.data / expected)
    keep = information > 0
    ppmi = sparse.csr_matrix((information[keep], (pairs.row[keep], pairs.col[keep])), shape=counts.shape)
    svd, _ = fit_svd(ppmi, min(dim, num_items - 1), seed=seed)
    # The square root of the singular values gives better weights than the values themselves (Levy et al. 2015).
    vectors = ppmi @ svd.components_.T / np.sqrt(np.maximum(svd.singular_values_, np.finfo(np.float32).eps))
    return np.asarray(normalize(vectors), dtype=np.float32)


def _window_counts(train: Sequences, num_items: int) -> sparse.csr_matrix:
    """Counts how often two items are within the window. A pair at distance d counts 1 / d."""
    counts = sparse.csr_matrix((num_items, num_items), dtype=np.float64)
    for distance in range(1, WINDOW + 1):
        left, right = train.pairs(distance)
        other = left != right
        weight = np.full(int(other.sum()), 1 / distance)
        counts = counts + sparse.csr_matrix((weight, (left[other], right[other])), shape=counts.shape)
    return (counts + counts.T).tocsr()
