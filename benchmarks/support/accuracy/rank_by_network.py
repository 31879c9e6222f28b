"""Ranks all items for the users of a holdout by a network that scores all items.

Shapes: B users, T history items, U users, K list length, N items.
"""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rqrec.training.data.splits import Holdout
from rqrec.training.evaluation.rank_holdout import USERS_PER_BATCH

CPU = torch.device("cpu")


@torch.no_grad()
def rank_by_network(
    network: Callable[[Tensor], Tensor], holdout: Holdout, *, k: int, max_history: int, device: torch.device = CPU
) -> NDArray[np.int64]:
    """Recommends the k best-scored items that are not in the user's history.

    Args:
        network: Computes from histories of one length (item_index, oldest first, int64, shape (B, T)) the scores of all
            items, shape (B, N). It is in evaluation mode.
        holdout: The users to recommend to.
        k: List length.
        max_history: Number of most recent items that are read.
        device: The device of the network.

    Returns:
        item_index of shape (U, K), best first.
    """
    lists_UK = np.empty((len(holdout), k), dtype=np.int64)
    lengths_U = np.minimum(holdout.histories.lengths_U, max_history)
    for length in np.unique(lengths_U):
        same_length = np.flatnonzero(lengths_U == length)
        for users in np.array_split(same_length, -(-len(same_length) // USERS_PER_BATCH)):
            histories = [holdout.histories[user].astype(np.int64) for user in users]
            recent_BT = np.stack([history[-length:] for history in histories])
            scores_BN = network(torch.from_numpy(recent_BT).to(device))
            for row, history in enumerate(histories):
                scores_BN[row, torch.from_numpy(history)] = -torch.inf
            lists_UK[users] = scores_BN.topk(k).indices.cpu().numpy()
    return lists_UK
