"""The code decoder: computes logits of the next item's codes from a state of the history encoder, level by level.

Shapes: B users, M positions, L levels, V codes per level, D width, H heads, d = D / H, K beams, R = B K beams of
all users, X rows of a table.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from rqrec.models.retriever.config import RetrieverConfig
from rqrec.models.retriever.layers import Block, Dropout, causal_bias
from rqrec.models.trie.lookup import take, take_rows


class KvCache(NamedTuple):
    """The KV cache of one Transformer block of the code decoder: attention keys and values of the levels so far.

    Each field has one tensor for each of these levels. When the search chooses new beams, it copies no keys or values.
    Each beam refers to a row of them by number, so several beams can share a row.

    Attributes:
        keys: The attention keys at each level: X rows, H heads of width d, shape (X, H, d).
        values: The attention values at each level, shape (X, H, d). X may differ from level to level.
        beam_rows: For each of R beams, the number of its row in the keys and values of the level, int32, shape (R,).
    """

    keys: tuple[Tensor, ...]
    values: tuple[Tensor, ...]
    beam_rows: tuple[Tensor, ...]


class DecoderState(NamedTuple):
    """The state of the code decoder between two levels of a search.

    Attributes:
        logits_RV: The logits of the next code of each of R beams, shape (R, V).
        inputs_XD: The decoder's input vector for each code at each level but the last, so X = (L - 1) V. Row l * V + c
            is for code c at level l.
        projected: The scaled attention queries, the keys and the values of `inputs_XD` in the first block, each of
            shape (X, H, d). They are computed once, so that each step only looks up rows.
        own_scores_XH1: The attention score of each of these vectors for itself.
        caches: The KV cache of each block.
    """

    logits_RV: Tensor
    inputs_XD: Tensor
    projected: tuple[Tensor, Tensor, Tensor]
    own_scores_XH1: Tensor
    caches: tuple[KvCache, ...]


class CodeDecoder(nn.Module):
    """A small Transformer that generates the codes of an item, level by level, from a state of the history encoder.

    Args:
        config: The configuration of the retriever.
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
        """Computes the logits of every level from the true codes of the earlier levels (teacher forcing).

        Args:
            states_MD: M states of the history encoder, of width D.
            codes_ML: The L true codes for each state, int64. The code of the last level is not read.

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
        """Starts decoding: computes the logits of level 0, with one beam per user.

        Args:
            states_BD: The state of the history encoder for each of B users, of width D.

        Returns:
            The state of the decoder, with the logits of level 0.
        """
        # The input of a later level is one of V vectors. The first block projects all of them here, and a step only
        # looks them up. In an exported graph the projections are constants.
        later_LVD = self.level_codes.weight[: self.level_offsets_L.numel() * self.codebook_size].view(
            -1, self.codebook_size, self.width
        )
        inputs_XD = (later_LVD + self.positions.weight[1:].unsqueeze(1)).flatten(0, 1)
        x_BD = states_BD + self.positions.weight[0]
        row_B = torch.arange(states_BD.shape[0], dtype=torch.int32, device=states_BD.device)
        first, *_ = self._blocks()
        caches = []
        for block in self._blocks():
            _, keys_BHd, values_BHd = block.project(x_BD)
            caches.append(KvCache((keys_BHd,), (values_BHd,), (row_B,)))
            x_BD = block.first(x_BD, values_BHd)
        projected = first.project(inputs_XD)
        return DecoderState(
            self.heads[0](self.norm(x_BD)), inputs_XD, projected, _own_scores(*projected[:2]), tuple(caches)
        )

    def step(self, decoding: DecoderState, parents_R: Tensor, codes_R: Tensor, level: int) -> DecoderState:
        """Decodes one more level: computes the logits of this level after new beams have been chosen.

        Args:
            decoding: The state of the decoder, with the logits of the level before.
            parents_R: For each new beam, the number of the beam in `decoding` that it continues, int32.
            codes_R: For each new beam, the code that was chosen at the level before, int32.
            level: The number of the level whose logits to compute, 1..L-1.

        Returns:
            The state of the decoder, with the logits of `level` for the new beams.
        """
        input_R = codes_R + (level - 1) * self.codebook_size
        x_RD, caches = take_rows(decoding.inputs_XD, input_R), []
        for number, (block, before) in enumerate(zip(self._blocks(), decoding.caches, strict=True)):
            if number == 0:
                queries, keys, values = decoding.projected
                own_R, q_RHd = input_R, take_rows(queries, input_R)
                own_RH1 = take_rows(decoding.own_scores_XH1, input_R)
            else:
                q_RHd, keys, values = block.project(x_RD)
                own_R = torch.arange(x_RD.shape[0], dtype=torch.int32, device=x_RD.device)
                own_RH1 = _own_scores(q_RHd, keys)
            beam_rows = (*(take(row_R, parents_R) for row_R in before.beam_rows), own_R)
            after = KvCache((*before.keys, keys), (*before.values, values), beam_rows)
            earlier = list(map(take_rows, before.keys, beam_rows[:-1]))
            x_RD = block.step(x_RD, q_RHd, own_RH1, earlier, list(map(take_rows, after.values, beam_rows)))
            caches.append(after)
        return decoding._replace(logits_RV=self.heads[level](self.norm(x_RD)), caches=tuple(caches))

    def _blocks(self) -> list[Block]:
        return [block for block in self.blocks if isinstance(block, Block)]


def _own_scores(q_XHd: Tensor, k_XHd: Tensor) -> Tensor:
    """The attention scores of positions for themselves, shape (X, H, 1)."""
    return (q_XHd * k_XHd).sum(-1, keepdim=True)
