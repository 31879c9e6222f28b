"""The retriever: an RQ-Transformer over semantic IDs (Lee et al. 2022, arXiv 2203.01941), moved to items.

A history item is one vector. A causal encoder reads T of them; at every position a small code decoder generates
the next item's L codes: p(item | history) = p(c_1 | h) p(c_2 | c_1, h) …, each factor a softmax over the trie's
valid children, so that p sums to one over the catalogue.

Shapes: B users, T history items, L levels, V codes per level, D width, N items, M positions, K beams, S cached.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from models.gather import take, take_rows
from models.layers import Block, Dropout, causal_bias
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
    """What the loss needs of the catalogue: codes_NL and paths_NL by leaf (`SemanticIdTrie.paths_LN`), and the trie."""

    codes_NL: Tensor
    paths_NL: Tensor
    trie: TrieTensors

    @classmethod
    def of(cls, trie: SemanticIdTrie, device: torch.device) -> "CatalogueTensors":
        """Lays the trie out for training on a device."""
        codes_NL, paths_NL = torch.from_numpy(trie.codes_NL), torch.from_numpy(trie.paths_LN.T.astype(np.int64))
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
        x_RD, bias_HTT = self._read(items_BTD.flatten(0, 1), items_BTD.shape[1])
        return torch.as_tensor(self.norm(self.blocks[-1](x_RD, bias_HTT))).view(items_BTD.shape)

    def last(self, items_RD: Tensor, lengths_B: Tensor, history_length: int) -> Tensor:
        """The state after each history's last item, shape (B, D); the last block computes no other position.

        Args:
            items_RD: Item vectors of B histories one after the other, shape (B T, D).
            lengths_B: Items in each history, 1..T.
            history_length: T.
        """
        x_RD, bias_HTT = self._read(items_RD, history_length)
        last = self.blocks[-1]
        assert isinstance(last, Block)
        last_B = lengths_B - 1
        rows_B = last_B + torch.arange(len(lengths_B), device=last_B.device) * history_length
        bias_BH1T = bias_HTT.index_select(1, last_B).transpose(0, 1).unsqueeze(2)
        return torch.as_tensor(self.norm(last.last(x_RD, rows_B, bias_BH1T)))

    def _read(self, items_RD: Tensor, history_length: int) -> tuple[Tensor, Tensor]:
        """Runs all blocks but the last; returns its input and its bias."""
        # Made for the longest history and cut: in an exported graph the whole is a constant.
        steps_T = torch.arange(self.distances.num_embeddings, device=items_RD.device)
        distances_TT = (steps_T[:, None] - steps_T).clamp_min(0)  # the future is hidden anyway
        longest_XTT = self.distances(distances_TT).permute(2, 0, 1) + causal_bias(len(steps_T), steps_T.device)
        biases_XTT = longest_XTT[:, :history_length, :history_length]
        *biases, last_bias_HTT = biases_XTT.chunk(len(self.blocks))
        x_RD = self.dropout(items_RD)
        for block, bias_HTT in zip(self.blocks, biases, strict=False):
            x_RD = block(x_RD, bias_HTT)
        return x_RD, last_bias_HTT


class Written(NamedTuple):
    """Keys and values of a block, each position's written once and never moved, and where each beam's own stand.

    Attributes:
        keys_XD: One row a position.
        values_XD: As the keys.
        places: For each position so far the row of every beam's own, int32, shape (B K,).
    """

    keys_XD: Tensor
    values_XD: Tensor
    places: tuple[Tensor, ...]


class Decoding(NamedTuple):
    """Where a decoding stands.

    Attributes:
        logits_RV: Of the next code, shape (B K, V).
        inputs_XD: What stands for a code at the next levels, row (level - 1) V + code.
        queries_XD: The first block's queries of those.
        written: Each block's keys and values.
    """

    logits_RV: Tensor
    inputs_XD: Tensor
    queries_XD: Tensor
    written: tuple[Written, ...]


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
        bias_LL = causal_bias(x_MLD.shape[1], x_MLD.device)
        x_RD = x_MLD.flatten(0, 1)
        for block in self.blocks:
            x_RD = block(x_RD, bias_LL)
        x_MLD = self.norm(x_RD).view(x_MLD.shape)
        return [head(x_MLD[:, level]) for level, head in enumerate(self.heads)]

    def begin(self, states_BD: Tensor) -> Decoding:
        """Starts from history states with one beam a user; the logits are those of level 0."""
        # The input of a later level is one of V vectors, so the first block's projections of all of them are written
        # beforehand and only looked up. In an exported graph they are constants.
        later_LVD = self.level_codes.weight[: self.level_offsets_L.numel() * self.codebook_size].view(
            -1, self.codebook_size, self.width
        )
        inputs_XD = (later_LVD + self.positions.weight[1:].unsqueeze(1)).flatten(0, 1)
        x_BD = states_BD + self.positions.weight[0]
        place_B = torch.arange(len(states_BD), dtype=torch.int32, device=states_BD.device)
        first, *others = self._blocks()
        queries_XD, *later = first.project(inputs_XD)
        _, keys_BD, values_BD = first.project(x_BD)
        written = [Written(torch.cat([keys_BD, later[0]]), torch.cat([values_BD, later[1]]), (place_B,))]
        x_BD = first.first(x_BD, values_BD)
        for block in others:
            _, keys_BD, values_BD = block.project(x_BD)
            written.append(Written(keys_BD, values_BD, (place_B,)))
            x_BD = block.first(x_BD, values_BD)
        return Decoding(self.heads[0](self.norm(x_BD)), inputs_XD, queries_XD, tuple(written))

    def step(self, decoding: Decoding, parents_R: Tensor, codes_R: Tensor, level: int) -> Decoding:
        """Goes on with chosen codes.

        Args:
            decoding: Where the decoding stands.
            parents_R: The row that each new beam continues, int32.
            codes_R: The code that each chose at the level before, int32.
            level: The level to come, 1..L-1.
        """
        input_R = codes_R + (level - 1) * self.codebook_size
        x_RD, q_RD = take_rows(decoding.inputs_XD, input_R), take_rows(decoding.queries_XD, input_R)
        written = []
        for place, (block, before) in enumerate(zip(self._blocks(), decoding.written, strict=True)):
            keys_XD, values_XD = before.keys_XD, before.values_XD
            if place == 0:
                own_R = input_R + (len(keys_XD) - len(decoding.inputs_XD))
            else:
                q_RD, k_RD, v_RD = block.project(x_RD)
                own_R = torch.arange(len(x_RD), dtype=torch.int32, device=x_RD.device) + len(keys_XD)
                keys_XD, values_XD = torch.cat([keys_XD, k_RD]), torch.cat([values_XD, v_RD])
            places = (*(take(place, parents_R) for place in before.places), own_R)
            keys, values = ([take_rows(rows_XD, place) for place in places] for rows_XD in (keys_XD, values_XD))
            x_RD = block.step(x_RD, q_RD, keys, values)
            written.append(Written(keys_XD, values_XD, places))
        return decoding._replace(logits_RV=self.heads[level](self.norm(x_RD)), written=tuple(written))

    def _blocks(self) -> list[Block]:
        return [block for block in self.blocks if isinstance(block, Block)]


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
            slot_M = chosen_ML[:, depth] - take(catalogue.trie.first_child[depth], nodes_M)
            levels.append(log_probs_MF.gather(1, slot_M.unsqueeze(1)).squeeze(1))
        return torch.stack(levels, dim=1)


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Embedding):
        nn.init.normal_(module.weight, std=EMBEDDING_STD)
    if isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, std=LINEAR_STD)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
