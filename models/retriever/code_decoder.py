"""The code decoder: a state of the history encoder → logits of the next item's codes, level by level.

Shapes: B users, M positions, L levels, V codes per level, D width, K beams, R = B K beams of all users, X rows of a
KV cache.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from rqrec.models.retriever.config import RetrieverConfig
from rqrec.models.retriever.layers import Block, Dropout, causal_bias
from rqrec.models.trie.lookup import take, take_rows


class KvCache(NamedTuple):
    """The KV cache of one block. A row is written once and never moves; each beam knows its rows by number.

    Attributes:
        keys_XD: Keys.
        values_XD: Values of the same rows.
        beam_rows: For each position so far, the row of every beam, int32, shape (B K,).
    """

    keys_XD: Tensor
    values_XD: Tensor
    beam_rows: tuple[Tensor, ...]


class DecoderState(NamedTuple):
    """The state of decoding between two levels.

    Attributes:
        logits_RV: Logits of the next code of every beam, shape (B K, V).
        inputs_XD: The input vector of each code at the next levels; row (level - 1) V + code.
        queries_XD: The first block's scaled queries of these inputs.
        caches: The KV cache of each block.
    """

    logits_RV: Tensor
    inputs_XD: Tensor
    queries_XD: Tensor
    caches: tuple[KvCache, ...]


class CodeDecoder(nn.Module):
    """Generates an item's codes level by level from a state of the history encoder.

    Args:
        config: Sizes of the retriever.
    """

    level_offsets_L: Tensor

    def __init__(self, config: RetrieverConfig) -> None:
        super().__init__()
        self.codebook_size = config.codebook_size
        self.width = config.width
        self.level_codes = nn.Embedding(max(config.num_levels - 1, 1) * config.codebook_size, config.width)
        self.positions = nn.Embedding(config.num_levels, config.width)
        self.dropout = Dropout(config.decoder_dropout)
        self.blocks = nn.ModuleList(
            Block(config.width, config.num_heads, ff_width=config.ff_width, dropout=config.decoder_dropout)
            for _ in range(config.decoder_layers)
        )
        self.norm = nn.LayerNorm(config.width)
        self.heads = nn.ModuleList(nn.Linear(config.width, config.codebook_size) for _ in range(config.num_levels))
        offsets_L = torch.arange(config.num_levels - 1) * config.codebook_size
        self.register_buffer("level_offsets_L", offsets_L, persistent=False)

    def forward(self, states_MD: Tensor, codes_ML: Tensor) -> list[Tensor]:
        """Computes the logits of every level from the true codes before it (teacher forcing).

        Args:
            states_MD: History states, shape (M, D).
            codes_ML: The true codes, int64, shape (M, L); the code of the last level is not read.

        Returns:
            The logits of each level: L tensors of shape (M, V).
        """
        earlier_MLD = self.level_codes(codes_ML[:, :-1] + self.level_offsets_L)
        x_MLD = self.dropout(torch.cat([states_MD.unsqueeze(1), earlier_MLD], dim=1) + self.positions.weight)
        bias_LL = causal_bias(x_MLD.shape[1], x_MLD.device)
        x_RD = x_MLD.flatten(0, 1)
        for block in self.blocks:
            x_RD = block(x_RD, bias_LL)
        x_MLD = self.norm(x_RD).view(x_MLD.shape)
        return [head(x_MLD[:, level]) for level, head in enumerate(self.heads)]

    def begin(self, states_BD: Tensor) -> DecoderState:
        """Starts decoding with one beam per user.

        Args:
            states_BD: History states.

        Returns:
            The state before level 0, with the logits of level 0.
        """
        # The input of a later level is one of V vectors. The first block projects all of them here, and a step only
        # looks them up. In an exported graph the projections are constants.
        later_LVD = self.level_codes.weight[: self.level_offsets_L.numel() * self.codebook_size].view(
            -1, self.codebook_size, self.width
        )
        inputs_XD = (later_LVD + self.positions.weight[1:].unsqueeze(1)).flatten(0, 1)
        x_BD = states_BD + self.positions.weight[0]
        row_B = torch.arange(states_BD.shape[0], dtype=torch.int32, device=states_BD.device)
        first, *others = self._blocks()
        queries_XD, *later = first.project(inputs_XD)
        _, keys_BD, values_BD = first.project(x_BD)
        caches = [KvCache(torch.cat([keys_BD, later[0]]), torch.cat([values_BD, later[1]]), (row_B,))]
        x_BD = first.first(x_BD, values_BD)
        for block in others:
            _, keys_BD, values_BD = block.project(x_BD)
            caches.append(KvCache(keys_BD, values_BD, (row_B,)))
            x_BD = block.first(x_BD, values_BD)
        return DecoderState(self.heads[0](self.norm(x_BD)), inputs_XD, queries_XD, tuple(caches))

    def step(self, decoding: DecoderState, parents_R: Tensor, codes_R: Tensor, level: int) -> DecoderState:
        """Decodes one more level after the chosen codes.

        Args:
            decoding: The state before this step.
            parents_R: For each new beam, the number of the beam that it continues, int32.
            codes_R: The code that each new beam chose at the level before, int32.
            level: The level whose logits to compute, 1..L-1.

        Returns:
            The state with the logits of `level`.
        """
        input_R = codes_R + (level - 1) * self.codebook_size
        x_RD, q_RD = take_rows(decoding.inputs_XD, input_R), take_rows(decoding.queries_XD, input_R)
        caches = []
        for number, (block, before) in enumerate(zip(self._blocks(), decoding.caches, strict=True)):
            keys_XD, values_XD = before.keys_XD, before.values_XD
            if number == 0:  # `begin` wrote the rows of all later inputs at the end of the first cache
                own_R = input_R + (keys_XD.shape[0] - decoding.inputs_XD.shape[0])
            else:
                q_RD, k_RD, v_RD = block.project(x_RD)
                own_R = torch.arange(x_RD.shape[0], dtype=torch.int32, device=x_RD.device) + keys_XD.shape[0]
                keys_XD, values_XD = torch.cat([keys_XD, k_RD]), torch.cat([values_XD, v_RD])
            beam_rows = (*(take(row_R, parents_R) for row_R in before.beam_rows), own_R)
            keys, values = ([take_rows(rows_XD, row_R) for row_R in beam_rows] for rows_XD in (keys_XD, values_XD))
            x_RD = block.step(x_RD, q_RD, keys, values)
            caches.append(KvCache(keys_XD, values_XD, beam_rows))
        return decoding._replace(logits_RV=self.heads[level](self.norm(x_RD)), caches=tuple(caches))

    def _blocks(self) -> list[Block]:
        return [block for block in self.blocks if isinstance(block, Block)]
