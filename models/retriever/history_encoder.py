"""The history encoder: computes a state after each item of a history from the vectors of the items.

Shapes: B users, T history items, D width, R = B T rows, H heads, X heads of all blocks, Y event types.
"""

import torch
from torch import Tensor, nn

from rqrec.models.retriever.config import RetrieverConfig
from rqrec.models.retriever.layers import Block, Dropout, causal_bias
from rqrec.models.trie.lookup import take_rows

UNKNOWN_TYPE = 0


class HistoryEncoder(nn.Module):
    """A causal Transformer over the item vectors of histories. The oldest item comes first, padding comes last.

    The distance between two items enters as a learned bias for each distance, head and layer (Raffel et al. 2020, arXiv
    1910.10683, §2.1, without buckets). Absolute positions do not enter: the effect of an item does not
    depend on its position in the input, only on its distance to other items.

    Each event type, such as "purchase", has a learned vector, which `typed` adds to the item's vector. The unknown
    event type, which has the number 0, has a learned vector too.

    Args:
        config: The configuration of the retriever.
    """

    def __init__(self, config: RetrieverConfig) -> None:
        super().__init__()
        self.distances = nn.Embedding(config.max_history, config.encoder_layers * config.num_heads)
        self.dropout = Dropout(config.dropout)
        self.blocks = nn.ModuleList(
            Block(config.width, config.num_heads, ff_width=config.ff_width, dropout=config.dropout)
            for _ in range(config.encoder_layers)
        )
        self.norm = nn.LayerNorm(config.width)
        self.types = nn.Embedding(1 + config.num_event_types, config.width) if config.num_event_types else None

    def typed(self, items_RD: Tensor, types_R: Tensor | None) -> Tensor:
        """Adds to each item vector the learned vector of its event type.

        Args:
            items_RD: Item vectors, of any shape whose last axis is D.
            types_R: The number of each item's event type, integer in [0, Y] for Y event types, 0 for unknown; None if
                all are unknown.

        Returns:
            Vectors of the same shape; `items_RD` itself if the retriever reads no event types.
        """
        if self.types is None:
            return items_RD
        if types_R is None:
            return items_RD + self.types.weight[UNKNOWN_TYPE]
        return items_RD + take_rows(self.types.weight, types_R)

    def forward(self, items_BTD: Tensor) -> Tensor:
        """Computes the state after every item of each history.

        No padding mask is needed, because padding comes after a user's last item and changes no earlier state.

        Args:
            items_BTD: The vectors of T items for each of B users, oldest first, of width D.

        Returns:
            States of shape (B, T, D). State t of a user depends on the items 0 to t only.
        """
        x_RD, bias_HTT = self._read(items_BTD.flatten(0, 1), items_BTD.shape[1])
        return torch.as_tensor(self.norm(self.blocks[-1](x_RD, bias_HTT))).view(items_BTD.shape)

    def last(self, items_RD: Tensor, lengths_B: Tensor, history_length: int) -> Tensor:
        """Computes only the state after the last item of each history. So the last block computes one position.

        Args:
            items_RD: Item vectors of B histories, one history after the other, shape (B T, D).
            lengths_B: Number of items in each history, 1..T.
            history_length: T, the length of each history including its padding.

        Returns:
            One state per history, shape (B, D).
        """
        x_RD, bias_HTT = self._read(items_RD, history_length)
        last = self.blocks[-1]
        assert isinstance(last, Block)
        last_B = lengths_B - 1
        rows_B = last_B + torch.arange(lengths_B.shape[0], device=last_B.device) * history_length
        bias_BH1T = bias_HTT.index_select(1, last_B).transpose(0, 1).unsqueeze(2)
        return torch.as_tensor(self.norm(last.last(x_RD, rows_B, bias_BH1T)))

    def _read(self, items_RD: Tensor, history_length: int) -> tuple[Tensor, Tensor]:
        """Runs all blocks except the last one, and returns the last block's input and bias."""
        # The bias is computed for the longest history and cut, so it is a constant in an exported graph.
        steps_T = torch.arange(self.distances.num_embeddings, device=items_RD.device)
        distances_TT = (steps_T[:, None] - steps_T).clamp_min(0)  # the causal bias hides negative distances
        longest_XTT = self.distances(distances_TT).permute(2, 0, 1) + causal_bias(len(steps_T), steps_T.device)
        biases_XTT = longest_XTT[:, :history_length, :history_length]
        *biases, last_bias_HTT = biases_XTT.chunk(len(self.blocks))
        x_RD = self.dropout(items_RD)
        for block, bias_HTT in zip(self.blocks, biases, strict=False):
            x_RD = block(x_RD, bias_HTT)
        return x_RD, last_bias_HTT
