"""The sizes of a retriever, shared by its parts."""

from dataclasses import dataclass


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
        dropout: Probability of dropping an activation of the history encoder while training.
        decoder_dropout: The same in the code decoder.
        generation_gradient: Share of the generation loss's gradient that reaches the history encoder, in [0, 1].
        feature_dim: E, columns of an item's features.
        feature_dropout: Probability of dropping a feature while training.
        num_items: N, items that have a vector of their own; 0 for none.
        num_prefixes: Two-code prefixes that have a vector of their own; 0 for none.
        temperature: Of the cosines that rate items for a state.
        relevance_weight: Weight of that rating beside an item's log-probability when candidates are ranked.
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
    decoder_dropout: float
    generation_gradient: float
    feature_dim: int
    feature_dropout: float
    num_items: int
    num_prefixes: int
    temperature: float
    relevance_weight: float
