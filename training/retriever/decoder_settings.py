"""The settings of the retriever: its sizes, and how it is trained."""

from typing import Self

from pydantic import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, model_validator
from pydantic.dataclasses import dataclass as settings_dataclass

from rqrec.models.retriever.config import RetrieverConfig, ShortTermConfig
from rqrec.models.trie.trie import SemanticIdTrie
from rqrec.training.runtime.config import DropProbability, Share


@settings_dataclass(frozen=True)
class DecoderSettings:
    """Settings of the retriever, the Transformer that recommends items: its sizes, and how it is trained.

    The training loss is the sum of two losses. The generation loss is -log_prob, where log_prob is the log-probability
    of the codes of the next item. The relevance loss is the cross-entropy of the next item's relevance among sampled
    items. The relevance of an item is the cosine of the history's vector and the item's vector, divided by
    `temperature`.

    Attributes:
        width: Width of the item vectors and of both Transformers (history encoder and code decoder).
        num_heads: Number of attention heads.
        ff_width: Inner width of the feed-forward layers.
        encoder_layers: Number of Transformer blocks that read the history.
        decoder_layers: Number of Transformer blocks that generate codes.
        max_history: Number of most recent items of a history that the model reads.
        crop_share: Share of training windows (sections of user sequences) that lose a random number of their oldest
            items, so that the model leans less on what it remembers of a user, and more on the last items.
        typed_history: Whether the model also reads the event types of these items, if the data has event types.
        dropout: Probability of dropping an activation in the history encoder.
        decoder_dropout: Probability of dropping an activation in the code decoder.
        feature_dropout: Probability of dropping each feature column of an item in training.
        generation_gradient: Share of the generation loss's gradient that reaches the history encoder, in [0, 1]. With a
            small share, the history encoder learns mainly from the relevance loss. The code decoder always gets the
            full gradient.
        temperature: The number by which the cosine is divided to get the relevance.
        relevance_weight: Weight of the relevance in the score, by which items are ranked: score = log_prob +
            relevance_weight * relevance.
        long_term_width: Number of columns of the long-term vectors, which add to the score which items the same users
            choose (`training.history.long_term`); 0 for no such vectors. A retriever gets none if they do not help the
            validation users.
        long_term_shrinkage: How much the long-term vectors leave out as noise. More for data of many users.
        negatives: Number of items drawn at random in each step, as negative examples for the relevance loss.
        epochs: Number of passes over the training sequences.
        batch_size: Largest number of windows (sections of user sequences) in one step, on average.
        batch_targets: Largest number of targets (items to predict) in one step, on average. So batches of long windows
            have fewer windows, and longer histories do not mean fewer steps.
        learning_rate: Peak learning rate of AdamW.
        weight_decay: Weight decay of AdamW.
        bf16: Whether to compute in bfloat16 if the processor has instructions for it.
        validate_every_epochs: Epochs between two validations. The weights of the best validation are kept.
        validation_users: Largest number of users in a validation.
        patience: Training ends after this many validations in a row without a better score.
        beam_width: Beam width of the search in a validation.
        checkpoint_every_steps: Steps between two checkpoints.
        accumulate: Number of parts of a batch that each rank (training process) computes one after the other. With more
            parts, less memory is needed.
        seed: Seed of weights, batches, dropout and the validation sample.
    """

    width: PositiveInt = 128
    num_heads: PositiveInt = 4
    ff_width: PositiveInt = 512
    encoder_layers: PositiveInt = 4
    decoder_layers: PositiveInt = 2
    max_history: PositiveInt = 50
    crop_share: Share = 0.5
    typed_history: bool = True
    dropout: DropProbability = 0.4
    decoder_dropout: DropProbability = 0.2
    feature_dropout: DropProbability = 0.2
    generation_gradient: Share = 0.1
    temperature: PositiveFloat = 0.07
    relevance_weight: NonNegativeFloat = 8.0
    long_term_width: NonNegativeInt = 63
    long_term_shrinkage: PositiveFloat = 300.0
    negatives: PositiveInt = 1536
    epochs: PositiveInt = 40
    batch_size: PositiveInt = 64
    batch_targets: PositiveInt = 1024
    learning_rate: PositiveFloat = 2e-3
    weight_decay: NonNegativeFloat = 0.05
    bf16: bool = True
    validate_every_epochs: PositiveInt = 2
    validation_users: PositiveInt = 2000
    patience: PositiveInt = 5
    beam_width: PositiveInt = 50
    checkpoint_every_steps: PositiveInt = 500
    accumulate: PositiveInt = 1
    seed: NonNegativeInt = 0

    @model_validator(mode="after")
    def _check_heads(self) -> Self:
        if self.width % self.num_heads:
            raise ValueError(f"width must be a multiple of num_heads, got {self.width} and {self.num_heads}")
        return self


def retriever_config(
    settings: DecoderSettings,
    trie: SemanticIdTrie,
    *,
    feature_dim: int,
    num_event_types: int = 0,
    short_term: ShortTermConfig | None = None,
) -> RetrieverConfig:
    """Makes the configuration of a retriever from the settings and the sizes of a catalogue.

    Args:
        settings: The retriever's sizes, and how it is trained.
        trie: The trie of the catalogue's semantic IDs.
        feature_dim: E, the number of feature columns of an item.
        num_event_types: Number of event types in the sequences, without "unknown"; 0 if the data has none.
        short_term: The configuration of the trained short-term encoder; None for a retriever without one.
    """
    return RetrieverConfig(
        num_levels=trie.num_levels,
        codebook_size=trie.codebook_size,
        width=settings.width,
        num_heads=settings.num_heads,
        ff_width=settings.ff_width,
        encoder_layers=settings.encoder_layers,
        decoder_layers=settings.decoder_layers,
        max_history=settings.max_history,
        dropout=settings.dropout,
        decoder_dropout=settings.decoder_dropout,
        feature_dim=feature_dim,
        feature_dropout=settings.feature_dropout,
        num_items=trie.num_leaves,
        num_prefixes=len(trie.child_code[1]) if trie.num_levels > 1 else 0,
        generation_gradient=settings.generation_gradient,
        temperature=settings.temperature,
        relevance_weight=settings.relevance_weight,
        num_event_types=num_event_types if settings.typed_history else 0,
        short_term=short_term,
    )
