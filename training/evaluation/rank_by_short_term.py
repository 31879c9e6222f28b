"""Computes the recommendation lists of held-out users by the relevance of a short-term encoder alone.

Shapes: B users of a batch, T history items, N items, U users, K list length.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from rqrec.models.retriever.short_term_encoder import ShortTermEncoder
from rqrec.training.data.splits import Holdout
from rqrec.training.evaluation.rank_holdout import NOTHING, last_disliked, user_batches


@torch.inference_mode()
def rank_by_short_term(
    encoder: ShortTermEncoder,
    holdout: Holdout,
    *,
    k: int,
    exclude_history: bool = True,
    disliked_types: Sequence[int] = (),
) -> NDArray[np.int64]:
    """Computes the recommendation list of every held-out user from the relevance of all items.

    Args:
        encoder: The short-term encoder, in evaluation mode.
        holdout: The users and their histories of item_index.
        k: List length K.
        exclude_history: Whether lists leave out the items of the user's history.
        disliked_types: The numbers of the event types that are dislikes. Lists always leave out items whose last event
            in the history is a dislike.

    Returns:
        int64 item_index of shape (U, K), best first; a shorter list is padded with -1.
    """
    lists_UK = np.full((len(holdout), k), NOTHING, dtype=np.int64)
    device, longest = encoder.items.weight.device, encoder.config.max_history
    directions_NF = F.normalize(encoder.items.weight, dim=-1)
    for users in user_batches(holdout, "validation"):
        histories = [holdout.histories[user].astype(np.int64) for user in users]
        types = [holdout.histories.types_of(user) for user in users] if holdout.histories.types_I is not None else None
        lengths_B = torch.tensor([min(len(history), longest) for history in histories], device=device)
        recent = [torch.from_numpy(history[-longest:]) for history in histories]
        recent_BT = torch.nn.utils.rnn.pad_sequence(recent, batch_first=True).to(device)
        # The states need no unit length: it does not change the order of a user's items.
        items_RF = encoder.items(recent_BT).flatten(0, 1)
        products_BN = encoder.last(items_RF, lengths_B, recent_BT.shape[1]) @ directions_NF.T
        excluded = histories if exclude_history else last_disliked(histories, types, disliked_types)
        for row, items in enumerate(excluded):
            products_BN[row, torch.from_numpy(items).to(device)] = -torch.inf
        best = products_BN.topk(min(k, len(directions_NF)))
        found_BK = torch.where(best.values > -torch.inf, best.indices, NOTHING).cpu().numpy()
        lists_UK[users, : found_BK.shape[1]] = found_BK
    return lists_UK
