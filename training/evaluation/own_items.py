"""Baselines that recommend the items of the user's own history again.

Shapes: U users, K list length, I history items of all users, P pairs of user and item, N items.
"""

import numpy as np
from numpy.typing import NDArray

from rqrec.training.data.splits import Holdout

NOTHING = -1


def rank_by_own_frequency(holdout: Holdout, fillers: NDArray[np.int64], *, k: int) -> NDArray[np.int64]:
    """Recommends the items that the user chose most often. Of equally frequent items, the last chosen comes first.

    Args:
        holdout: The users to recommend to.
        fillers: Items that fill up a list if the history has fewer than K different items, such as the most popular
            ones: item_index, best first, int64.
        k: List length K.

    Returns:
        int64 item_index of shape (U, K), best first; a shorter list is padded with -1.
    """
    return _rank(holdout, fillers, k, by_frequency=True)


def rank_by_own_recency(holdout: Holdout, fillers: NDArray[np.int64], *, k: int) -> NDArray[np.int64]:
    """Recommends the items of the user's history, most recently chosen first.

    Args:
        holdout: The users to recommend to.
        fillers: Items that fill up a list if the history has fewer than K different items, such as the most popular
            ones: item_index, best first, int64.
        k: List length K.

    Returns:
        int64 item_index of shape (U, K), best first; a shorter list is padded with -1.
    """
    return _rank(holdout, fillers, k, by_frequency=False)


def _rank(holdout: Holdout, fillers: NDArray[np.int64], k: int, *, by_frequency: bool) -> NDArray[np.int64]:
    histories, lists_UK = holdout.histories, np.full((len(holdout), k), NOTHING, dtype=np.int64)
    keys_I = (histories.rows_I << 32) | histories.items_I
    # Read backwards, so that the first occurrence of a pair of user and item is its last choice.
    keys_P, backwards_P, counts_P = np.unique(keys_I[::-1], return_index=True, return_counts=True)
    user_P, item_P = keys_P >> 32, keys_P & 0xFFFFFFFF
    order_P = np.lexsort((backwards_P, -counts_P if by_frequency else backwards_P, user_P))
    place_P = np.arange(len(keys_P)) - np.searchsorted(user_P, user_P)  # the keys are sorted by user
    shown_P = place_P < k
    lists_UK[user_P[shown_P], place_P[shown_P]] = item_P[order_P][shown_P]
    for user in np.flatnonzero(lists_UK[:, -1] == NOTHING):
        lists_UK[user] = _filled(lists_UK[user], fillers)
    return lists_UK


def _filled(row_K: NDArray[np.int64], fillers: NDArray[np.int64]) -> NDArray[np.int64]:
    """Fills a list up with items that it does not have yet."""
    own = row_K[row_K != NOTHING]
    more = fillers[~np.isin(fillers, own)]
    full = np.concatenate([own, more])[: len(row_K)]
    return np.concatenate([full, np.full(len(row_K) - len(full), NOTHING)])
