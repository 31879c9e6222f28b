"""An untrained baseline: which items followed the user's last two items, and how alike they are in content.

Han et al. 2026 (arXiv 2605.07125) show that such a heuristic is as good as many trained models on the usual data sets.
A model that is not better has learnt nothing about histories. The numbers below were chosen on the validation items of
Amazon Beauty.

Shapes: B users, N items, E feature columns, U users, K list length.
"""

import numpy as np
from numpy.typing import NDArray
from sklearn.preprocessing import normalize

from rqrec.training.data.splits import Holdout, Sequences
from rqrec.training.evaluation.rank_holdout import USERS_PER_BATCH
from rqrec.training.history.transitions import SHARPNESS, transition_shares

SECOND_LAST = 0.3  # the last item but one counts this much beside the last item
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
    follows_NN = transition_shares(train, len(features_NE))
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
        best_BK = np.argpartition(-scores_BN, k - 1, axis=1)[:, :k]
        order_BK = np.argsort(-np.take_along_axis(scores_BN, best_BK, axis=1), axis=1, kind="stable")
        lists_UK[begin : begin + len(histories)] = np.take_along_axis(best_BK, order_BK, axis=1)
    return lists_UK
