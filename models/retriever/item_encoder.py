"""The item encoder: computes one vector for each item from its semantic ID and its features.

Shapes: N items, L levels, E feature columns, D width.
"""

import torch
from torch import Tensor, nn

from rqrec.models.retriever.config import RetrieverConfig
from rqrec.models.retriever.layers import Dropout


class ItemEncoder(nn.Module):
    """Encodes items as vectors, which the history encoder reads and from which the relevance of items is computed.

    A vector is a sum of five terms: the embeddings of the item's codes, an MLP of these embeddings concatenated, an
    embedding of the first two codes, an MLP of the item's features, and an embedding of the item itself. The encoder
    knows only the items of its training. `models.items.content_neighbours` computes the vectors of later items.

    Args:
        config: The configuration of the retriever.
    """

    level_offsets_L: Tensor

    def __init__(self, config: RetrieverConfig) -> None:
        super().__init__()
        levels, codes, width = config.num_levels, config.codebook_size, config.width
        self.level_codes = nn.Embedding(levels * codes, width)
        self.prefixes = nn.Embedding(config.num_prefixes, width) if config.num_prefixes else None
        self.mix = nn.Sequential(nn.Linear(levels * width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))
        self.content = nn.Sequential(
            Dropout(config.feature_dropout),
            nn.Linear(config.feature_dim, 2 * width),
            nn.GELU(),
            nn.Linear(2 * width, width),
        )
        self.own = nn.Embedding(config.num_items, width) if config.num_items else None
        self.register_buffer("level_offsets_L", torch.arange(levels) * codes, persistent=False)

    def forward(self, codes_NL: Tensor, prefixes_N: Tensor, features_NE: Tensor, rows_N: Tensor) -> Tensor:
        """Computes the vectors of N items.

        Args:
            codes_NL: The semantic IDs of the items, L codes each, int64.
            prefixes_N: The number of each item's prefix of two codes: the number of its trie node at depth 2, int64.
            features_NE: The features of the items, the same that the RQ-VAE reads, float32, shape (N, E).
            rows_N: The row of each item in the item embedding table, integer.

        Returns:
            Item vectors, shape (N, D).
        """
        levels_NLD = self.level_codes(codes_NL + self.level_offsets_L)
        vectors_ND = levels_NLD.sum(-2) + self.mix(levels_NLD.flatten(-2)) + self.content(features_NE)
        if self.prefixes is not None:
            vectors_ND = vectors_ND + self.prefixes(prefixes_N)
        if self.own is not None:
            vectors_ND = vectors_ND + self.own(rows_N)
        return torch.as_tensor(vectors_ND)
