"""The short-term encoder: a second, narrow encoder of histories, by item embeddings and short causal filters.

The history encoder reads what items are, by their codes and features. The short-term encoder knows an item by an
embedding alone, and learns which items follow each other within a few steps. It is trained by itself, before the
retriever. Candidates are ranked by the mean of both relevances, which is better than either (docs/experiments.md).
Filters in place of attention: Zhou et al. 2022 (arXiv 2202.13556), Liu et al. 2025 (arXiv 2511.07028).

Shapes: B users, T history items, F width of the encoder, C taps of a filter, N items, M positions with a target,
S candidates.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rqrec.models.retriever.config import ShortTermConfig
from rqrec.models.retriever.cross_entropy import candidate_cross_entropy
from rqrec.models.retriever.layers import Dropout
from rqrec.models.retriever.sampled_items import SampledItems
from rqrec.models.trie.lookup import take_rows

WEIGHT_STD = 0.02
LONGEST_CONSTANT = 128  # items of a history; the constants take 4 MiB for a width of 64
INPUT_EPS = 1e-12  # so small that the lengths of item vectors have no effect


class CausalFilter(nn.Module):
    """Replaces each value by a weighted sum of itself and of the values before it, in every column separately.

    Args:
        width: F, the number of columns.
        taps: C, the number of values in a sum. `weight_CF[c]` is the weight of the value c steps before.
        max_history: The largest number of history items.
    """

    def __init__(self, width: int, *, taps: int, max_history: int) -> None:
        super().__init__()
        self.max_history = max_history
        self.weight_CF = nn.Parameter(WEIGHT_STD * torch.randn(taps, width))

    def forward(self, x_BTF: Tensor) -> Tensor:
        """Computes the sums at all positions, shape (B, T, F)."""
        # One small matrix product for each column: ONNX Runtime's convolution of separate columns is much slower. In an
        # exported graph the matrices are computed for the longest history and cut, so they are constants, unless they
        # would be large.
        length = x_BTF.shape[1]
        is_constant = torch.compiler.is_exporting() and self.max_history <= LONGEST_CONSTANT
        steps_T = torch.arange(self.max_history if is_constant else length, device=x_BTF.device)
        mixing_FTT = self._weights(steps_T[:, None] - steps_T).permute(2, 0, 1)
        return (mixing_FTT[:, :length, :length] @ x_BTF.permute(2, 1, 0)).permute(2, 1, 0)

    def last(self, x_BTF: Tensor, last_B: Tensor) -> Tensor:
        """Computes the sums at one position of each user, shape (B, F).

        Args:
            x_BTF: The values at all positions.
            last_B: The position of each user, integer.
        """
        steps_T = torch.arange(x_BTF.shape[1], device=x_BTF.device)
        return (self._weights(last_B[:, None] - steps_T) * x_BTF).sum(1)

    def _weights(self, lags: Tensor) -> Tensor:
        """Returns the weights of values by how many steps they lie before; 0 for later ones and for those too early."""
        taps = self.weight_CF.shape[0]
        table = torch.cat([self.weight_CF, torch.zeros_like(self.weight_CF[:1])])
        rows = torch.where((lags < 0) | (lags >= taps), taps, lags)
        return take_rows(table, rows.flatten()).view(*lags.shape, -1)


class FilterBlock(nn.Module):
    """A causal filter, then a feed-forward net; each is added to its input, and the sum is normalised.

    Args:
        config: The configuration of the short-term encoder.
    """

    def __init__(self, config: ShortTermConfig) -> None:
        super().__init__()
        width = config.width
        self.filter = CausalFilter(width, taps=config.taps, max_history=config.max_history)
        self.norm, self.ff_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.ff = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
        self.dropout = Dropout(config.dropout)

    def forward(self, x_BTF: Tensor) -> Tensor:
        """Computes the new states of all positions, shape (B, T, F)."""
        return self._add(x_BTF, self.filter(x_BTF))

    def last(self, x_BTF: Tensor, last_B: Tensor) -> Tensor:
        """Computes the new state of one position of each user, shape (B, F).

        Args:
            x_BTF: The states of all positions.
            last_B: The position of each user, integer.
        """
        users, length = x_BTF.shape[:2]
        rows_B = last_B + torch.arange(users, device=last_B.device) * length
        return self._add(take_rows(x_BTF.flatten(0, 1), rows_B), self.filter.last(x_BTF, last_B))

    def _add(self, x: Tensor, filtered: Tensor) -> Tensor:
        x = self.norm(x + self.dropout(filtered))
        return torch.as_tensor(self.ff_norm(x + self.dropout(self.ff(x))))


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
            x_BTF = block(x_BTF)
        return torch.as_tensor(x_BTF)

    def last(self, items_BTF: Tensor, lengths_B: Tensor) -> Tensor:
        """Computes only the state after the last item of each history, shape (B, F). It has no dropout.

        Args:
            items_BTF: Item embeddings, oldest first, at any length, padded at the end with anything.
            lengths_B: Number of items in each history, 1..T.
        """
        x_BTF = self.norm(items_BTF)
        *blocks, last_block = self.blocks
        for block in blocks:
            x_BTF = block(x_BTF)
        assert isinstance(last_block, FilterBlock)
        return last_block.last(x_BTF, lengths_B - 1)


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Embedding | nn.Linear):
        nn.init.normal_(module.weight, std=WEIGHT_STD)
    if isinstance(module, nn.Linear):
        nn.init.zeros_(module.bias)
