"""The settings of the short-term encoder: its sizes, and how it is trained."""

from pydantic import NonNegativeInt, PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass as settings_dataclass

from rqrec.models.retriever.config import ShortTermConfig
from rqrec.training.runtime.config import DropProbability


@settings_dataclass(frozen=True)
class ShortTermSettings:
    """Settings of the short-term encoder: its sizes, and how it is trained.

    The short-term encoder learns which items follow each other within a few steps. It knows an item by an embedding
    alone. The training loss is the cross-entropy of the next item's relevance among all items, or among sampled items
    of a large catalogue. The relevance of an item is the cosine of the history's state and the item's embedding,
    divided by `temperature`. The encoder reads as many items as the retriever (`DecoderSettings.max_history`).

    Attributes:
        width: Width of the item embeddings and states; 0 for no short-term encoder.
        layers: Number of blocks, each a causal filter and a feed-forward net.
        taps: Number of history items that each filter sums up.
        filters: Number of filters in a block; the filter of each column is a weighted sum of them.
        dropout: Probability of dropping an activation.
        temperature: The number by which the cosine is divided to get the relevance.
        negatives: Number of items drawn at random in each step, as negative examples. A catalogue with at most this
            number of items is not sampled: each step uses all items.
        epochs: Number of passes over the training sequences.
        batch_size: Largest number of windows (sections of user sequences) in one step, on average.
        batch_targets: Largest number of targets (items to predict) in one step, on average. So batches of long windows
            have fewer windows, and longer histories do not mean fewer steps.
        learning_rate: Peak learning rate of AdamW.
        validate_every_epochs: Epochs between two validations. The weights of the best validation are kept.
        validation_users: Largest number of users in a validation.
        patience: Training ends after this many validations in a row without a better score.
        checkpoint_every_steps: Steps between two checkpoints.
        accumulate: Number of parts of a batch that each rank (training process) computes one after the other. With more
            parts, less memory is needed.
        seed: Seed of weights, batches, dropout and the validation sample.
    """

    width: NonNegativeInt = 64
    layers: PositiveInt = 2
    taps: PositiveInt = 16
    filters: PositiveInt = 4
    dropout: DropProbability = 0.5
    temperature: PositiveFloat = 0.07
    negatives: PositiveInt = 16_384
    epochs: PositiveInt = 60
    batch_size: PositiveInt = 128
    batch_targets: PositiveInt = 2048
    learning_rate: PositiveFloat = 1e-3
    validate_every_epochs: PositiveInt = 5
    validation_users: PositiveInt = 5000
    patience: PositiveInt = 4
    checkpoint_every_steps: PositiveInt = 500
    accumulate: PositiveInt = 1
    seed: NonNegativeInt = 0


def short_term_config(settings: ShortTermSettings, *, num_items: int, max_history: int) -> ShortTermConfig:
    """Makes the configuration of a short-term encoder.

    Args:
        settings: The encoder's sizes, and how it is trained.
        num_items: N, the number of items.
        max_history: Number of most recent items of a history that the encoder reads.
    """
    return ShortTermConfig(
        num_items=num_items,
        width=settings.width,
        layers=settings.layers,
        taps=settings.taps,
        filters=settings.filters,
        dropout=settings.dropout,
        max_history=max_history,
        temperature=settings.temperature,
    )
