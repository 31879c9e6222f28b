"""The long-term vectors: which items the same users choose, in any order.

The other encoders lean on the last items of a history. The long-term vectors are a linear autoencoder: every history
item counts alike, wherever it stands. An item has a vector, a history has the sum of its items' vectors, and an
item's long-term relevance is the dot product of both, times a weight. Nothing is trained by gradients:
`training.history.long_term` computes the vectors by a singular value decomposition, and the weight comes from
validation users.

A search compares unit vectors. So a vector gets one more column, its slack, that brings it to unit length, and the
query has 0 in this column.

Shapes: B users, T history items, R = B T rows, N items, G columns of a long-term vector, H = G + 1 columns with the
slack.
"""

from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rqrec.models.retriever.config import LongTermConfig
from rqrec.models.retriever.layers import SHORTEST


class LongTermVectors(nn.Module):
    """A vector of each item, and the weight of the long-term relevance. It is never trained by gradients.

    Args:
        config: The configuration of the long-term vectors.

    Attributes:
        items: The vectors of the items by item_index, of length 1 at most, shape (N, G).
        weight: The weight of the long-term relevance in the score, a scalar.
    """

    def __init__(self, config: LongTermConfig) -> None:
        super().__init__()
        self.config = config
        self.items = nn.Embedding(config.num_items, config.width)
        nn.init.zeros_(self.items.weight)
        self.weight = nn.Parameter(torch.zeros(()))
        self.requires_grad_(False)

    def weighted(self, weight: float) -> Self:
        """Sets the weight, and returns these vectors."""
        self.weight.fill_(weight)
        return self

    def with_slack(self, rows_N: Tensor) -> Tensor:
        """Looks up the vectors of items and brings them to unit length by their slack, shape (N, H).

        Args:
            rows_N: The item_index of each item, integer.
        """
        vectors_NG = self.items(rows_N)
        slack_N = (1 - vectors_NG.square().sum(-1)).clamp_min(0).sqrt()
        return torch.cat([vectors_NG, slack_N.unsqueeze(-1)], dim=-1)

    def query(self, vectors_RH: Tensor, lengths_B: Tensor, history_length: int) -> Tensor:
        """Computes the query of each user, whose dot product with an item's unit vector is its part of the score.

        Args:
            vectors_RH: The vectors with slack of B histories, one history after the other, at any length.
            lengths_B: Number of items in each history, 1..T.
            history_length: T, the length of each history including its padding.

        Returns:
            The weighted sums of the vectors, 0 in the column of the slack, shape (B, H).
        """
        lengths_R = torch.linalg.vector_norm(vectors_RH, dim=-1).clamp_min(SHORTEST)
        is_item_BT = torch.arange(history_length, device=lengths_B.device) < lengths_B.unsqueeze(1)
        shares_BT = is_item_BT * (self.weight / lengths_R).view(-1, history_length)
        vectors_BTH = vectors_RH.view(-1, history_length, vectors_RH.shape[1])
        sums_BH = (shares_BT.unsqueeze(1) @ vectors_BTH).squeeze(1)
        return F.pad(sums_BH[:, :-1], (0, 1))
