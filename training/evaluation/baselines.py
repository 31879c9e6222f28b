"""Simple recommenders that a trained model must beat: popularity, and nearest neighbours by users or by content.

Users and items are processed in blocks of limited size, so a large catalogue needs little additional memory.

Shapes: U users, B users of one block, K list length, N items, R items of one block, E feature columns.
"""

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from sklearn.preprocessing import normalize

from rqrec.training.data.splits import Holdout, Sequences

ITEM_KNN_NEIGHBOURS = 100
ITEM_KNN_WITH_TIES = 1000  # neighbours of one item at the most, those equal to the 100th included
NOTHING = -1
SCORES_PER_BLOCK = 1 << 23  # of float32: 32 MiB
SIMILARITIES_PER_BLOCK = 1 << 23  # of float32 and int32: 64 MiB


def item_popularity(train: Sequences, num_items: int) -> NDArray[np.int64]:
    """Counts how often each item occurs in the training sequences. Dislikes are not counted.

    Args:
        train: Training sequences of item_index.
        num_items: N, the number of items in the catalogue.

    Returns:
        Counts by item_index, int64, shape (N,).
    """
    return np.bincount(train.items_I[train.is_wanted_I], minlength=num_items)


def most_popular(popularity_N: NDArray[np.integer], count: int) -> NDArray[np.int64]:
    """Returns the most popular items, most popular first. Of equally popular items, the lower item_index comes first.

    Args:
        popularity_N: How often each item was chosen, by item_index, shape (N,).
        count: Number of items to return.
    """
    return np.argsort(-popularity_N, kind="stable")[:count]


def rank_by_popularity(
    popularity_N: NDArray[np.integer], holdout: Holdout, *, k: int, exclude_history: bool = True
) -> NDArray[np.int64]:
    """Recommends the most popular items to every user.

    Args:
        popularity_N: How often each item was chosen, by item_index, shape (N,).
        holdout: The users to recommend to.
        k: List length K.
        exclude_history: Whether lists leave out the items of the user's history.

    Returns:
        int64 item_index of shape (U, min(K, N)), best first; a shorter list is padded with -1.
    """
    k = min(k, len(popularity_N))
    longest = int(holdout.histories.lengths_U.max(initial=0)) if exclude_history else 0
    best = most_popular(popularity_N, k + longest)
    lists_UK = np.full((len(holdout), k), NOTHING, dtype=np.int64)
    if not exclude_history:
        lists_UK[:] = best
        return lists_UK
    is_own_N = np.zeros(len(popularity_N), dtype=np.bool_)
    for user in range(len(holdout)):
        history = holdout.histories[user]
        is_own_N[history] = True
        first = best[: k + len(history)]
        left = first[~is_own_N[first]][:k]
        lists_UK[user, : len(left)] = left
        is_own_N[history] = False
    return lists_UK


def rank_by_item_knn(
    train: Sequences, num_items: int, holdout: Holdout, *, k: int, exclude_history: bool = True
) -> NDArray[np.int64]:
    """Recommends the items that are most similar to the items of the user's history (Sarwar et al. 2001).

    The score of an item is the sum of its similarities with the items of the history. The similarity of two items is
    the cosine between the sets of their users. Only the 100 nearest neighbours of each item count, and neighbours that
    are as near as the 100th, up to 1,000 in all.

    Args:
        train: Training sequences of item_index.
        num_items: N, the number of items in the catalogue.
        holdout: The users to recommend to.
        k: List length K.
        exclude_history: Whether lists leave out the items of the user's history.

    Returns:
        int64 item_index of shape (U, min(K, N)), best first; a shorter list is padded with -1.
    """
    similarity_NN = _nearest(_user_item(train, num_items))
    return _rank(holdout, num_items, lambda history_BN: (history_BN @ similarity_NN).toarray(), k, exclude_history)


def rank_by_content_knn(
    features_NE: NDArray[np.float32], holdout: Holdout, *, k: int, eligible_N: NDArray[np.bool_] | None = None
) -> NDArray[np.int64]:
    """Recommends the items whose features have the largest mean cosine with the features of the history's items.

    Lists leave out the items of the user's history.

    Args:
        features_NE: Item features by item_index, shape (N, E).
        holdout: The users to recommend to.
        k: List length K.
        eligible_N: Whether each item may be recommended, bool, shape (N,); None to allow all items.

    Returns:
        int64 item_index of shape (U, min(K, N)), best first; a shorter list is padded with -1.
    """
    unit_NE = normalize(features_NE)
    barred_N = np.float32(0) if eligible_N is None else np.where(eligible_N, 0, -np.inf).astype(np.float32)
    return _rank(holdout, len(features_NE), lambda history_BN: (history_BN @ unit_NE) @ unit_NE.T + barred_N, k)


def _rank(
    holdout: Holdout,
    num_items: int,
    score: Callable[[sparse.csr_matrix], NDArray[np.float32]],
    k: int,
    exclude_history: bool = True,
) -> NDArray[np.int64]:
    """Returns the k best-scored items of each user; the lower item_index comes first among equal scores.

    A list is filled up with -1 if the history leaves fewer than k items.
    """
    histories_UN = _user_item(holdout.histories, num_items)
    k, block = min(k, num_items), max(SCORES_PER_BLOCK // num_items, 1)
    lists_UK = np.empty((len(holdout), k), dtype=np.int64)
    for begin in range(0, len(holdout), block):
        history_BN = histories_UN[begin : begin + block]
        scores_BN = score(history_BN)
        if exclude_history:
            scores_BN[history_BN.nonzero()] = -np.inf
        for user, scores_N in enumerate(scores_BN, start=begin):
            candidates = np.flatnonzero(scores_N >= np.partition(scores_N, -k)[-k])
            best_K = candidates[np.argsort(-scores_N[candidates], kind="stable")[:k]]
            lists_UK[user] = np.where(scores_N[best_K] > -np.inf, best_K, NOTHING)
    return lists_UK


def _user_item(sequences: Sequences, num_items: int) -> sparse.csr_matrix:
    """Returns the matrix (U, N) that is 1 where the user has the item."""
    ones = np.ones(len(sequences.items_I), dtype=np.float32)
    # The items are copied because sum_duplicates sorts each row in place, and a history is ordered by time.
    rows = (ones, sequences.items_I.copy(), sequences.offsets_U)
    matrix = sparse.csr_matrix(rows, shape=(len(sequences), num_items))
    matrix.sum_duplicates()
    matrix.data[:] = 1
    return matrix


def _nearest(user_item: sparse.csr_matrix) -> sparse.csr_matrix:
    """Returns the similarities (N, N) of each item with its nearest neighbours; all other entries are zero."""
    norms_N = np.sqrt(np.asarray(user_item.sum(axis=0)).ravel())
    unit_UN = sparse.csr_matrix(user_item @ sparse.diags(1 / np.maximum(norms_N, 1)))
    unit_NU = unit_UN.T.tocsr()
    blocks = [_keep_nearest(unit_NU[first:end] @ unit_UN, first) for first, end in _item_blocks(user_item)]
    return sparse.csr_matrix(sparse.vstack(blocks, format="csr"))


def _item_blocks(user_item: sparse.csr_matrix) -> Iterator[tuple[int, int]]:
    """Yields ranges of items whose similarities with all items have at most SIMILARITIES_PER_BLOCK non-zeros.

    An item has at most N similar items, and at most as many as its users' histories have entries together. A range
    holds one item at the least.
    """
    num_items = user_item.shape[1]
    entries_N = np.minimum(user_item.T.astype(np.float64) @ np.diff(user_item.indptr), num_items)
    total_N = np.cumsum(entries_N)
    first = 0
    while first < num_items:
        before = total_N[first] - entries_N[first]
        end = max(int(np.searchsorted(total_N, before + SIMILARITIES_PER_BLOCK, side="right")), first + 1)
        yield first, end
        first = end


def _keep_nearest(similarity_RN: sparse.csr_matrix, first: int) -> sparse.csr_matrix:
    """Keeps each row's nearest neighbours; row 0 is the item `first`, and no item is its own neighbour."""
    rows = np.repeat(np.arange(similarity_RN.shape[0]), np.diff(similarity_RN.indptr))
    similarity_RN.data[similarity_RN.indices == rows + first] = 0
    for begin, end in zip(similarity_RN.indptr[:-1], similarity_RN.indptr[1:], strict=True):
        values = similarity_RN.data[begin:end]
        if len(values) > ITEM_KNN_NEIGHBOURS:
            values[values < np.partition(values, -ITEM_KNN_NEIGHBOURS)[-ITEM_KNN_NEIGHBOURS]] = 0
        if np.count_nonzero(values) > ITEM_KNN_WITH_TIES:
            nearest_first = np.lexsort((similarity_RN.indices[begin:end], -values))
            values[nearest_first[ITEM_KNN_WITH_TIES:]] = 0
    similarity_RN.eliminate_zeros()
    return similarity_RN
