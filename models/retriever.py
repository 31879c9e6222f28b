"""The retriever: an RQ-Transformer over semantic IDs (Lee et al. 2022, arXiv 2203.01941), moved to items.

A history item is one vector. A causal encoder reads T of them; at every position a small code decoder generates
the next item's L codes: p(item | history) = p(c_1 | h) p(c_2 | c_1, h) …, each factor a softmax over the trie's
valid children, so that p sums to one over the catalogue.

Shapes: B users, T history items, L levels, V codes per level, D width, N items, M positions, K beams, S cached.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from models.layers import Block, Dropout
from models.trie import SemanticIdTrie
from models.trie_tensors import TrieTensors, child_log_probs

PADDING = -1
LINEAR_STD, EMBEDDING_STD = 0.02, 0.1  # embeddings as small as weights take twice the steps to leave popularity behind


@dataclass(frozen=True)
class RetrieverConfig:
    """Sizes of a retriever.

    Attributes:
        num_levels: L, codes in a semantic ID, the collision level included.
        codebook_size: V.
        width: D.
        num_heads: Attention heads in both parts.
        ff_width: Inner width of every feed-forward net.
        encoder_layers: Blocks that read the history.
        decoder_layers: Blocks that generate codes.
        max_history: T, the most recent items that are read.
        dropout: Probability of dropping an activation while training.
    """

    num_levels: int
    codebook_size: int
    width: int
    num_heads: int
    ff_width: int
    encoder_layers: int
    decoder_layers: int
    max_history: int
    dropout: float


class CatalogueTensors(NamedTuple):
    """What the loss needs of the catalogue: codes_NL and paths_NL by leaf (`SemanticIdTrie.paths_NL`), and the trie."""

    codes_NL: Tensor
    paths_NL: Tensor
    trie: TrieTensors

    @classmethod
    def of(cls, trie: SemanticIdTrie, device: torch.device) -> "CatalogueTensors":
        """Lays the trie out for training on a device."""
        codes_NL, paths_NL = torch.from_numpy(trie.codes_NL), torch.from_numpy(trie.paths_NL())
        return cls(codes_NL.to(device), paths_NL.to(device), TrieTensors.of(trie).to(device))


class RetrieverOutput(NamedTuple):
    """The mean loss per position, -log p(next item) in nats, and its parts by level, shape (L,)."""

    loss: Tensor
    level_losses_L: Tensor


class ItemEncoder(nn.Module):
    """Turns semantic IDs into the vectors that the history encoder reads.

    The sum of the levels' code embeddings, plus an MLP of the levels side by side, plus an embedding of the two-code
    prefix. The last starts at zero, so that a prefix never seen in training adds nothing.
    """

    level_offsets_L: Tensor

    def __init__(self, config: RetrieverConfig) -> None:
        super().__init__()
        levels, codes, width = config.num_levels, config.codebook_size, config.width
        self.codebook_size = codes
        self.level_codes = nn.Embedding(levels * codes, width)
        self.prefix_codes = nn.Embedding(codes * codes, width) if levels > 1 else None
        self.mix = nn.Sequential(nn.Linear(levels * width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))
        self.register_buffer("level_offsets_L", torch.arange(levels) * codes, persistent=False)

    def forward(self, codes_NL: Tensor) -> Tensor:
        """Encodes items: int64 codes of shape (…, L) to vectors of shape (…, D)."""
        levels_NLD = self.level_codes(codes_NL + self.level_offsets_L)
        vectors_ND = levels_NLD.sum(-2) + self.mix(levels_NLD.flatten(-2))
        if self.prefix_codes is None:
            return torch.as_tensor(vectors_ND)
        prefix_N = codes_NL[..., 0] * self.codebook_size + codes_NL[..., 1]
        return torch.as_tensor(vectors_ND + self.prefix_codes(prefix_N))


class HistoryEncoder(nn.Module):
    """A causal Transformer over item vectors, oldest first, padding last.

    It knows an item's place only by its distance, as a learned bias a head and layer (Raffel et al. 2020, arXiv
    1910.10683, §2.1, without buckets): five items mean the same at the start of a history as at its end.
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

    def forward(self, items_BTD: Tensor) -> Tensor:
        """Reads histories: position t of the result has seen items 0..t. Shape (B, T, D) in and out.

        Being causal, it needs no padding mask: what follows a user's last item changes nothing before it.
        """
        steps_T = torch.arange(items_BTD.shape[1], device=items_BTD.device)
        distances_TT = (steps_T[:, None] - steps_T).clamp_min(0)  # the future is masked anyway
        biases_XTT = self.distances(distances_TT).permute(2, 0, 1)
        x_BTD = self.dropout(items_BTD)
        for block, bias_HTT in zip(self.blocks, biases_XTT.chunk(len(self.blocks)), strict=True):
            x_BTD = block(x_BTD, bias_HTT)
        return torch.as_tensor(self.norm(x_BTD))


class CodeDecoder(nn.Module):
    """Generates an item's codes one level after the other from a state of the history encoder."""

    level_offsets_L: Tensor

    def __init__(self, config: RetrieverConfig) -> None:
        super().__init__()
        self.codebook_size = config.codebook_size
        self.width = config.width
        self.level_codes = nn.Embedding(max(config.num_levels - 1, 1) * config.codebook_size, config.width)
        self.positions = nn.Embedding(config.num_levels, config.width)
        self.dropout = Dropout(config.dropout)
        self.blocks = nn.ModuleList(
            Block(config.width, config.num_heads, ff_width=config.ff_width, dropout=config.dropout)
            for _ in range(config.decoder_layers)
        )
        self.norm = nn.LayerNorm(config.width)
        self.heads = nn.ModuleList(nn.Linear(config.width, config.codebook_size) for _ in range(config.num_levels))
        offsets_L = torch.arange(config.num_levels - 1) * config.codebook_size
        self.register_buffer("level_offsets_L", offsets_L, persistent=False)

    def forward(self, states_MD: Tensor, codes_ML: Tensor) -> list[Tensor]:
        """Logits of every level given the true codes before it (teacher forcing).

        Args:
            states_MD: History states, shape (M, D).
            codes_ML: The true codes, int64, shape (M, L); the last level's is not read.

        Returns:
            L tensors of shape (M, V).
        """
        earlier_MLD = self.level_codes(codes_ML[:, :-1] + self.level_offsets_L)
        x_MLD = self.dropout(torch.cat([states_MD.unsqueeze(1), earlier_MLD], dim=1) + self.positions.weight)
        for block in self.blocks:
            x_MLD = block(x_MLD)
        x_MLD = self.norm(x_MLD)
        return [head(x_MLD[:, level]) for level, head in enumerate(self.heads)]

    def empty_cache(self, states_BKD: Tensor) -> list[Tensor]:
        """A cache without positions for each block, shape (B, K, 0, 2 D)."""
        batch, beams, width = states_BKD.shape
        return [states_BKD.new_zeros((batch, beams, 0, 2 * width)) for _ in self.blocks]

    def embed(self, codes_BK: Tensor, level: int) -> Tensor:
        """Embeds the codes just chosen at a level, shape (B, K, D): what `step` takes for the next level."""
        return torch.as_tensor(self.level_codes(codes_BK + level * self.codebook_size))

    def step(self, x_BKD: Tensor, caches: list[Tensor], level: int) -> tuple[Tensor, list[Tensor]]:
        """Logits of one level, shape (B, K, V), from the newest input and the caches of the earlier ones.

        Args:
            x_BKD: The history state at level 0, else the embedding of the code before (`embed`).
            caches: One per block, as returned by the step before (`empty_cache` at level 0).
            level: 0..L-1.
        """
        x_BKD = x_BKD + self.positions.weight[level]
        grown = []
        for block, cache in zip(self.blocks, caches, strict=True):
            assert isinstance(block, Block)
            x_BKD, grown_cache = block.step(x_BKD, cache)
            grown.append(grown_cache)
        return torch.as_tensor(self.heads[level](self.norm(x_BKD))), grown


class Retriever(nn.Module):
    """Item encoder, history encoder and code decoder, and the loss that trains them together."""

    def __init__(self, config: RetrieverConfig) -> None:
        super().__init__()
        self.config = config
        self.items = ItemEncoder(config)
        self.history = HistoryEncoder(config)
        self.decoder = CodeDecoder(config)
        self.apply(_initialise)
        if self.items.prefix_codes is not None:
            nn.init.zeros_(self.items.prefix_codes.weight)

    def forward(self, history_BT: Tensor, targets_BT: Tensor, catalogue: CatalogueTensors) -> RetrieverOutput:
        """The cross-entropy of the next item at all positions, in one pass.

        Args:
            history_BT: Leaf positions of the items read, oldest first, padded at the end with -1, T <= max_history.
            targets_BT: Leaf position of the item that follows each, -1 where none is to be learnt.
            catalogue: The trie that both index, laid out by `CatalogueTensors.of`.
        """
        items_BTD = self.items(catalogue.codes_NL[history_BT.clamp_min(0)])
        is_target_BT = targets_BT != PADDING
        targets_M = targets_BT[is_target_BT]
        log_probs_ML = self.log_probs(self.history(items_BTD)[is_target_BT], targets_M, catalogue)
        level_losses_L = -log_probs_ML.mean(0)
        return RetrieverOutput(level_losses_L.sum(), level_losses_L.detach())

    def log_probs(self, states_MD: Tensor, targets_M: Tensor, catalogue: CatalogueTensors) -> Tensor:
        """Each level's natural log-probability of given items, shape (M, L); their sum is log p(item | history)."""
        codes_ML, paths_ML = catalogue.codes_NL[targets_M], catalogue.paths_NL[targets_M]
        chosen_ML = torch.cat([paths_ML[:, 1:], targets_M.unsqueeze(1)], dim=1)
        levels = []
        for depth, logits_MV in enumerate(self.decoder(states_MD, codes_ML)):
            nodes_M = paths_ML[:, depth]
            _, log_probs_MF = child_log_probs(catalogue.trie, depth, nodes_M, logits_MV)
            slot_M = chosen_ML[:, depth] - catalogue.trie.child_start[depth][nodes_M]
            levels.append(log_probs_MF.gather(1, slot_M.unsqueeze(1)).squeeze(1))
        return torch.stack(levels, dim=1)


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Embedding):
        nn.init.normal_(module.weight, std=EMBEDDING_STD)
    if isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, std=LINEAR_STD)
        nn.init.zeros_(module.bias)
