"""The items that a search found as PyTorch tensors, before and after they are ranked.

Shapes: B users, K items of a user, X scores of a user, D width.
"""

from typing import NamedTuple, Self

import torch
from torch import Tensor

from rqrec.models.trie.trie import NO_LEAF


class Found(NamedTuple):
    """The items that the beams ended at, for each of B users, the most probable first. Each user has K entries.

    If fewer than K items are eligible for a user, the last entries are empty.

    Attributes:
        leaves_BK: The leaf of each item, int32; -1 in an empty entry.
        log_probs_BK: The natural log-probability of each item, float32; -inf in an empty entry.
    """

    leaves_BK: Tensor
    log_probs_BK: Tensor

    @classmethod
    def from_beams(cls, leaves_BK: Tensor, log_probs_BK: Tensor) -> Self:
        """Takes over the beams of the last level. A pruned beam, whose score is -inf, may point at any leaf.

        Args:
            leaves_BK: The leaf of each beam, int32.
            log_probs_BK: The natural log-probability of each beam, float32.
        """
        return cls(torch.where(log_probs_BK > -torch.inf, leaves_BK, NO_LEAF), log_probs_BK)


class BeamSearchOutput(NamedTuple):
    """What a search returns for each of B users: `models.search.ranking.SearchOutput` describes the fields.

    K is here the beam width plus `models.search.history.following_items.JOINING`. The last two fields have one tensor
    for each depth 1..L, in which K is the beam width alone.
    """

    leaves_BK: Tensor
    log_probs_BK: Tensor
    scores_BK: Tensor
    queries_BD: Tensor
    strengths_BK: Tensor
    offsets_B: Tensor
    lowest_B: Tensor
    prefix_nodes: tuple[Tensor, ...] = ()
    prefix_log_probs: tuple[Tensor, ...] = ()


def top_k(scores_BX: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Finds the k largest scores of each row. Of equal scores, the one with the smaller index comes first.

    ONNX specifies this order of ties for TopK. Torch does not, so torch sorts keys that are never equal.

    Args:
        scores_BX: X scores in each of B rows, float32, without NaN.
        k: How many scores to find in each row, 1..X.

    Returns:
        The k largest scores, largest first, and their column numbers, int64; both of shape (B, k).
    """
    if torch.compiler.is_exporting():
        return scores_BX.topk(k, dim=1)
    bits = (scores_BX + 0.0).view(torch.int32)  # adding 0 turns -0 into 0
    ordered = torch.where(bits < 0, bits ^ 0x7FFFFFFF, bits).to(torch.int64)
    positions_X = torch.arange(scores_BX.shape[1], device=scores_BX.device)
    index_BK = ((ordered << 32) - positions_X).topk(k, dim=1).indices
    return scores_BX.gather(1, index_BK), index_BK
