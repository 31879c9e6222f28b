"""What a recommender must beat: popularity, and nearest neighbours by users or by content.

Shapes: U users, K list length, N items, E feature columns.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from sklearn.preprocessing import normalize

from rqrec.training.data.splits import Holdout, Sequences

USERS_PER_BLOCK = 512
ITEM_KNN_NEIGHBOURS = 100


def item_popularity(train: Sequences, num_items: int) -> NDArray[np.int64]:
    """How often each item occurs in the training sequences, shape (N,)."""
    return np.bincount(train.items_I, minlength=num_items)


def rank_by_popularity(train: Sequences, num_items: int, holdout: Holdout, *, k: int) -> NDArray[np.int64]:
    """Recommends the most popular items that the user has not had; item_index of shape (U, k)."""
    popularity_N = item_popularity(train, num_items).astype(np.float32)
    return _rank(holdout, num_items, lambda history_BN: np.tile(popularity_N, (history_BN.shape[0], 1)), k)


def rank_by_item_knn(train: Sequences, num_items: int, holdout: Holdout, *, k: int) -> NDArray[np.int64]:
    """Recommends what is most similar to all of the user's items (Sarwar et al. 2001).

    Similarity is the cosine of the items' users; each item keeps its nearest neighbours only.

    Returns:
        item_index of shape (U, k).
    """
    similarity_NN = _nearest(_user_item(train, num_items))
    return _rank(holdout, num_items, lambda history_BN: (history_BN @ similarity_NN).toarray(), k)


def rank_by_content_knn(
    features_NE: NDArray[np.float32], holdout: Holdout, *, k: int, eligible_N: NDArray[np.bool_] | None = None
) -> NDArray[np.int64]:
    """Recommends what is most similar in content to all of the user's items: the mean cosine of their features.

    Only items that are eligible, by default all.

    Returns:
        item_index of shape (U, k).
    """
    unit_NE = normalize(features_NE)
    barred_N = np.float32(0) if eligible_N is None else np.where(eligible_N, 0, -np.inf).astype(np.float32)
    return _rank(holdout, len(features_NE), lambda history_BN: (history_BN @ unit_NE) @ unit_NE.T + barred_N, k)


def _rank(
    holdout: Holdout, num_items: int, score: Callable[[sparse.csr_matrix], NDArray[np.float32]], k: int
) -> NDArray[np.int64]:
    """The k best-scored items outside each history, the lower item_index first among equals."""
    histories_UN = _user_item(holdout.histories, num_items)
    lists = []
    for begin in range(0, len(holdout), USERS_PER_BLOCK):
        history_BN = histories_UN[begin : begin + USERS_PER_BLOCK]
        scores_BN = score(history_BN)
        scores_BN[history_BN.nonzero()] = -np.inf
        lists.append(np.argsort(-scores_BN, axis=1, kind="stable")[:, :k])
    return np.concatenate(lists)


def _user_item(sequences: Sequences, num_items: int) -> sparse.csr_matrix:
    ones = np.ones(len(sequences.items_I), dtype=np.float32)
    # A copy: summing duplicates sorts the rows in place, and the order of a history is its meaning.
    rows = (ones, sequences.items_I.copy(), sequences.offsets_U)
    matrix = sparse.csr_matrix(rows, shape=(len(sequences), num_items))
    matrix.sum_duplicates()
    matrix.data[:] = 1
    return matrix


def _nearest(user_item: sparse.csr_matrix) -> sparse.csr_matrix:
    norms_N = np.sqrt(np.asarray(user_item.sum(axis=0)).ravel())
    unit = user_item @ sparse.diags(1 / np.maximum(norms_N, 1))
    similarity = (unit.T @ unit).tocsr()
    similarity.setdiag(0)
    for row in range(similarity.shape[0]):
        values = similarity.data[similarity.indptr[row] : similarity.indptr[row + 1]]
        if len(values) > ITEM_KNN_NEIGHBOURS:
            values[values < np.partition(values, -ITEM_KNN_NEIGHBOURS)[-ITEM_KNN_NEIGHBOURS]] = 0
    similarity.eliminate_zeros()
    return sparse.csr_matrix(similarity)
