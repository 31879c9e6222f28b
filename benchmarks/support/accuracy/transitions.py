"""An untrained baseline: which items followed the user's last two items, and how alike they are in content.

Han et al. 2026 (arXiv 2605.07125) show that such a heuristic is as good as many trained models on the usual data sets.
A model that is not better has learnt nothing about histories. The numbers below were chosen on the validation items of
Amazon Beauty.

Shapes: B users, N items, E feature columns, U users, K list length.
"""

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from sklearn.preprocessing import normalize

from rqrec.training.data.splits import Holdout, Sequences
from rqrec.training.evaluation.rank_holdout import USERS_PER_BATCH

STEP_WEIGHTS = (1.0, 0.5, 1 / 3)  # of an item that comes one, two or three steps after another one
SECOND_LAST = 0.3  # weight of the last item but one, beside that of the last
SHARPNESS = 2.0  # a transition to an item with the cosine c of the features counts exp(SHARPNESS * c)
TIE_BREAK = 1e-6  # items that never followed are ranked by content alone, behind the others


def rank_by_transitions(
    train: Sequences, features_NE: NDArray[np.float32], holdout: Holdout, *, k: int
) -> NDArray[np.int64]:
    """Recommends the items that followed the user's last two items most often, weighted by likeness of content.

    Args:
        train: Training sequences of item_index.
        features_NE: Item features by item_index.
        holdout: The users to recommend to. Lists leave out the items of their histories.
        k: List length K.

    Returns:
        item_index of shape (U, K), best first.
    """
    follows_NN = transitions(train, len(features_NE))
    unit_NE = normalize(features_NE).astype(np.float32)
    lists_UK = np.empty((len(holdout), k), dtype=np.int64)
    for begin in range(0, len(holdout), USERS_PER_BATCH):
        histories = [holdout.histories[user] for user in range(begin, min(begin + USERS_PER_BATCH, len(holdout)))]
        last_B = np.array([history[-1] for history in histories])
        earlier_B = np.array([history[-2:][0] for history in histories])
        likeness_BN = (unit_NE[last_B] + SECOND_LAST * unit_NE[earlier_B]) @ unit_NE.T
        followed_BN = (follows_NN[last_B] + SECOND_LAST * follows_NN[earlier_B]).toarray()
        scores_BN = followed_BN * np.exp(SHARPNESS * likeness_BN) + TIE_BREAK * likeness_BN
        for row, history in enumerate(histories):
            scores_BN[row, history] = -np.inf
        lists_UK[begin : begin + len(histories)] = np.argsort(-scores_BN, axis=1, kind="stable")[:, :k]
    return lists_UK


def transitions(train: Sequences, num_items: int) -> sparse.csr_matrix:
    """Counts which item follows which, in a few steps; each row sums to 1, or to 0 if nothing followed.

    >>> train = Sequences(np.array([0, 1, 2], dtype=np.int32), np.array([0, 3]))
    >>> transitions(train, 3).toarray().astype(float).round(2).tolist()
    [[0.0, 0.67, 0.33], [0.0, 0.0, 1.0], [0.0, 0.0, 0.0]]

    Args:
        train: Training sequences of item_index.
        num_items: N.

    Returns:
        float32 of shape (N, N): row i says what followed item i.
    """
    items, nexts, weights = [], [], []
    for steps, weight in enumerate(STEP_WEIGHTS, start=1):
        of_one_user = train.rows_I[:-steps] == train.rows_I[steps:]
        items.append(train.items_I[:-steps][of_one_user])
        nexts.append(train.items_I[steps:][of_one_user])
        weights.append(np.full(len(items[-1]), weight, dtype=np.float32))
    pairs = (np.concatenate(items), np.concatenate(nexts))
    counts = sparse.csr_matrix((np.concatenate(weights), pairs), shape=(num_items, num_items))
    return sparse.csr_matrix(normalize(counts, norm="l1"))
