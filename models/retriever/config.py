"""The configuration of the retriever, which its item encoder, history encoder and code decoder share."""

from dataclasses import dataclass


@dataclass(frozen=True)
class RetrieverConfig:
    """The configuration of a retriever: its sizes, dropout probabilities and other options.

    Attributes:
        num_levels: L, the number of codes in a semantic ID. The last one is the collision code, which tells items with
            otherwise equal codes apart.
        codebook_size: V, the number of codes per level.
        width: D, the width of item vectors and states.
        num_heads: Attention heads in the history encoder and in the code decoder.
        ff_width: Inner width of every feed-forward net.
        encoder_layers: Number of blocks in the history encoder.
        decoder_layers: Number of blocks in the code decoder.
        max_history: T, the number of most recent items of a history that the retriever reads.
        dropout: Probability of dropping an activation of the history encoder in training, in [0, 1).
        decoder_dropout: Probability of dropping an activation of the code decoder in training, in [0, 1).
        generation_gradient: Factor of the gradient that the generation loss (of the codes) sends from the code decoder
            back to the history encoder, in [0, 1].
        feature_dim: E, the number of feature columns of an item.
        feature_dropout: Probability of dropping a feature in training, in [0, 1).
        num_items: N, the number of items in the item embedding table; 0 if there is no such table.
        num_prefixes: The number of prefixes of two codes in the prefix embedding table; 0 if there is no such table.
        temperature: Divides the cosine of a state's query and an item's vector: relevance = cosine / temperature.
        relevance_weight: Weight of relevance in the score: score = log_prob + relevance_weight * relevance.
        num_event_types: The number of event types that history items may have, besides the unknown type; 0 if the
            retriever reads no types.
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
    num_event_types: int = 0
