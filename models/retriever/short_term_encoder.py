"""The short-term encoder: a second, narrow encoder of histories, by item embeddings and short causal filters.

The history encoder reads what items are, by their codes and features. The short-term encoder knows an item by an
embedding alone, and learns which items follow each other within a few steps. It is trained by itself, before the
retriever. Candidates are ranked by the mean of both relevances, which is better than either (docs/experiments.md).
Filters in place of attention: Zhou et al. 2022 (arXiv 2202.13556), Liu et al. 2025 (arXiv 2511.07028).

Shapes: B users, T history items, F width of the encoder, C taps of a filter, R shared filters, N items, M positions
with a target, S candidates.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rqrec.models.retriever.config import ShortTermConfig
from rqrec.models.retriever.cross_entropy import candidate_cross_entropy
from rqrec.models.retriever.layers import Dropout
from rqrec.models.retriever.sampled_items import SampledItems
from rqrec.models.trie.lookup import take_rows

WEIGHT_STD = 0.02
INPUT_EPS = 1e-12  # so small that the lengths of item vectors have no effect


class CausalFilter(nn.Module):
    """Replaces each value by a weighted sum of itself and of the C - 1 values before it, in every column separately.

    The weights of a column are a sum of R shared filters, which the column weighs in its own way. Trained filters of
    separate columns are nearly such sums: four shared filters hold 96 % of the squares of 64. Sums by matrix products
    are fast in ONNX Runtime, whose convolution of separate columns is slow.

    Args:
        width: F, the number of columns.
        taps: C, the number of values in a sum.
        filters: R, the number of shared filters. `filters_RC[r, c]` is the weight of the value c steps before.
    """

    def __init__(self, width: int, *, taps: int, filters: int) -> None:
        super().__init__()
        self.filters_RC = nn.Parameter(torch.randn(filters, taps) / math.sqrt(filters))
        self.shares_RF = nn.Parameter(WEIGHT_STD * torch.randn(filters, width))

    def forward(self, x_BTF: Tensor) -> Tensor:
        """Computes the sums at the positions that have C - 1 values before them, shape (B, T - C + 1, F)."""
        filters, taps = self.filters_RC.shape
        length = x_BTF.shape[1] - taps + 1
        steps_T = torch.arange(length, device=x_BTF.device)
        lags = steps_T[:, None] + taps - 1 - torch.arange(length + taps - 1, device=x_BTF.device)
        padded = F.pad(self.filters_RC, (0, 1))  # a value that no sum has gets the last weight, which is 0
        rows = torch.where((lags < 0) | (lags >= taps), taps, lags)
        mixing = take_rows(padded.T, rows.flatten()).view(*lags.shape, filters).permute(2, 0, 1).flatten(0, 1)
        sums_BRTF = (mixing @ x_BTF).unflatten(1, (filters, length))
        return torch.as_tensor((sums_BRTF * self.shares_RF[:, None]).sum(1))


class FilterBlock(nn.Module):
    """A causal filter, then a feed-forward net; each is added to its input, and the sum is normalised.

    Args:
        config: The configuration of the short-term encoder.
    """

    def __init__(self, config: ShortTermConfig) -> None:
        super().__init__()
        width = config.width
        self.before = config.taps - 1
        self.filter = CausalFilter(width, taps=config.taps, filters=config.filters)
        self.norm, self.ff_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.ff = nn.Sequential(nn.Linear(width, 4 * width), nn.ReLU(), nn.Linear(4 * width, width))
        self.dropout = Dropout(config.dropout)

    def forward(self, x_BTF: Tensor) -> Tensor:
        """Computes the new states of the positions that have C - 1 positions before them, shape (B, T - C + 1, F)."""
        x_BTF = self.norm(x_BTF[:, self.before :] + self.dropout(self.filter(x_BTF)))
        return torch.as_tensor(self.ff_norm(x_BTF + self.dropout(self.ff(x_BTF))))


class ShortTermEncoder(nn.Module):
    """Reads item embeddings, oldest first, and computes a state after each item. `forward` computes its training loss.

    The relevance of an item is the cosine of the state and the item's embedding, divided by a temperature.

    Args:
        config: The configuration of the encoder.
    """

    def __init__(self, config: ShortTermConfig) -> None:
        super().__init__()
        self.config = config
        self.items = nn.Embedding(config.num_items, config.width)
        self.norm = nn.LayerNorm(config.width, eps=INPUT_EPS)
        self.dropout = Dropout(config.dropout)
        self.blocks = nn.ModuleList(FilterBlock(config) for _ in range(config.layers))
        self.apply(_initialise)

    def forward(
        self, history_BT: Tensor, targets_BT: Tensor, sampled: SampledItems | None, weights_BT: Tensor | None = None
    ) -> Tensor:
        """Computes the loss of predicting the next item at all positions of B histories in one pass.

        Args:
            history_BT: The item_index of the history items of B users, oldest first, int64, padded at the end with -1;
                T <= max_history.
            targets_BT: For each position, the item_index of the item to predict, int64; -1 for a position without a
                target.
            sampled: The items among which the loss looks for the next item, at least all of targets_BT; None for all
                items of the catalogue.
            weights_BT: The weight of each target, float32; None if all targets have equal weights.

        Returns:
            The (weighted) mean of the cross-entropy of the next item in a softmax of the relevance, a scalar.
        """
        is_target_BT = targets_BT >= 0
        states_MF = self.encode(self.items(history_BT.clamp_min(0)))[is_target_BT]
        queries_MF = F.normalize(states_MF, dim=-1) / self.config.temperature
        weights_M = torch.ones_like(queries_MF[:, 0]) if weights_BT is None else weights_BT[is_target_BT]
        weights_M = weights_M / weights_M.sum()
        items_NF, targets_M, log_drawn_S = self.items.weight, targets_BT[is_target_BT], None
        if sampled is not None:
            items_NF, log_drawn_S = self.items(sampled.items_S), sampled.log_drawn_S
            targets_M = torch.searchsorted(sampled.items_S, targets_M)
        return candidate_cross_entropy(queries_MF, F.normalize(items_NF, dim=-1), targets_M, weights_M, log_drawn_S)

    def encode(self, items_BTF: Tensor) -> Tensor:
        """Computes the state after every item of each history, shape (B, T, F). State t depends on the items 0 to t.

        Args:
            items_BTF: Item embeddings, oldest first, at any length: only their direction counts.
        """
        x_BTF = self.dropout(self.norm(items_BTF))
        for block in self.blocks:
            x_BTF = block(F.pad(x_BTF, (0, 0, self.config.taps - 1, 0)))
        return torch.as_tensor(x_BTF)

    def last(self, items_RF: Tensor, lengths_B: Tensor, history_length: int) -> Tensor:
        """Computes only the state after the last item of each history, shape (B, F). It has no dropout.

        The state depends on the last 1 + layers (C - 1) items, and only these are read.

        Args:
            items_RF: Item embeddings at any length, one history of T items after the other, oldest first, padded at
                the end with anything.
            lengths_B: Number of items in each history, 1..T.
            history_length: T, the length of each history including its padding.
        """
        read = 1 + self.config.layers * (self.config.taps - 1)
        positions_BT = lengths_B[:, None] + torch.arange(-read, 0, device=items_RF.device)  # < 0 before the first item
        firsts_B1 = torch.arange(lengths_B.shape[0], device=items_RF.device)[:, None] * history_length
        x_BTF = self.norm(take_rows(items_RF, firsts_B1 + positions_BT.clamp_min(0)))
        is_item_BT1 = (positions_BT >= 0).to(x_BTF.dtype).unsqueeze(2)
        for block in self.blocks:
            x_BTF = block(x_BTF * is_item_BT1[:, -x_BTF.shape[1] :])
        return torch.as_tensor(x_BTF[:, 0])


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Embedding | nn.Linear):
        nn.init.normal_(module.weight, std=WEIGHT_STD)
    if isinstance(module, nn.Linear):
        nn.init.zeros_(module.bias)
