"""The configuration of the retriever, which its parts share, and of what ranks beside it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class ShortTermConfig:
    """The configuration of a short-term encoder: its sizes, dropout probability and temperature.

    Attributes:
        num_items: N, the number of items in its table of item embeddings.
        width: F, the width of item embeddings and states.
        layers: Number of blocks.
        taps: C, the number of values that each causal filter sums up.
        filters: R, the number of shared filters; the filter of each column is a weighted sum of them.
        dropout: Probability of dropping an activation in training, in [0, 1).
        max_history: T, the number of most recent items of a history that the encoder reads.
        temperature: Divides the cosine of a state and an item embedding: relevance = cosine / temperature.
    """

    num_items: int
    width: int
    layers: int
    taps: int
    filters: int
    dropout: float
    max_history: int
    temperature: float


@dataclass(frozen=True)
class LongTermConfig:
    """The sizes of the long-term vectors.

    Attributes:
        num_items: N, the number of items that have a vector.
        width: G, the number of columns of a vector.
    """

    num_items: int
    width: int


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
        short_term: The configuration of the short-term encoder; None if the retriever has none.
        long_term: The sizes of the long-term vectors; None if the retriever has none.
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
    short_term: ShortTermConfig | None = None
    long_term: LongTermConfig | None = None

    @property
    def vector_width(self) -> int:
        """W, the width of an item vector with all its parts."""
        return sum(self.part_widths)

    @property
    def compared_width(self) -> int:
        """The number of columns of an item vector, the first ones, by which items are compared: D + F.

        The long-term vectors are not among them: their slack is nearly the same for all items.
        """
        return sum(self.part_widths[:2])

    @property
    def part_widths(self) -> tuple[int, int, int]:
        """The widths of the parts of an item vector, in their order: D, F and H.

        D columns are for the history encoder, F for the short-term encoder, and H = G + 1 for the long-term vectors
        with their slack. A part that the retriever does not have is 0 wide.
        """
        short_term = self.short_term.width if self.short_term else 0
        return self.width, short_term, self.long_term.width + 1 if self.long_term else 0

    @classmethod
    def from_fields(cls, fields: Mapping[str, Any]) -> "RetrieverConfig":
        """Makes a configuration from a dictionary of its fields, as `dataclasses.asdict` or JSON gives it."""
        short_term, long_term = fields.get("short_term"), fields.get("long_term")
        return cls(
            **{
                **fields,
                "short_term": ShortTermConfig(**short_term) if short_term else None,
                "long_term": LongTermConfig(**long_term) if long_term else None,
            }
        )
