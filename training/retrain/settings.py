"""The settings of a retraining."""

from dataclasses import dataclass, field
from typing import Annotated

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass as settings_dataclass

from rqrec.training.run import RunSettings
from rqrec.training.runtime.config import Share


@settings_dataclass(frozen=True)
class RetrainSettings:
    """How a retraining learns, when its result is worse, and when a full training is due.

    The new interactions are those that are later than all that the bundle has learnt.

    Attributes:
        epochs: Number of passes of the retriever over the new interactions and the replayed ones.
        short_term_epochs: The same for the short-term encoder.
        rate_share: Peak learning rates, as a share of those of the full training.
        rare_rate: How many times as fast the embedding of an item learns that nobody had chosen before. It falls
            to 1 for items of 60 learnt interactions.
        replay: Number of replayed old interactions for each new one. The short-term encoder, which learns what is new,
            replays the latest ones. The retriever replays any, so that it keeps what it has learnt.
        bonus_interactions: Largest number of new interactions to which the bonus of own and following items is fitted
            anew; of more, a random sample is taken. With 0, the bonus stays as it is.
        held_out_share: Share of the new interactions, the latest ones, on which the retrained model is compared with
            the one of the bundle. It then learns them too.
        judged_interactions: Largest number of interactions in this comparison; of more, a random sample is taken.
        judged_users: Smallest number of users in this comparison. With fewer, it decides nothing.
        max_new_items: A full training is due if a larger share of the items is newer than the tokenizer.
        min_agreement: A full training is due if the nearest old items by content share the first code of a new item
            less often than this share of what is usual for old items. A further limit is
            `SemanticIdSettings.max_collision_ratio`.
        seed: Seed of weights, batches, dropout and samples.
    """

    epochs: PositiveInt = 2
    short_term_epochs: PositiveInt = 4
    rate_share: PositiveFloat = 0.3
    rare_rate: Annotated[float, Field(ge=1, allow_inf_nan=False)] = 5.0
    replay: NonNegativeFloat = 8.0
    bonus_interactions: NonNegativeInt = 2000
    held_out_share: Annotated[float, Field(gt=0, lt=1)] = 0.2
    judged_interactions: PositiveInt = 2000
    judged_users: PositiveInt = 20
    max_new_items: Share = 0.25
    min_agreement: Share = 0.5
    seed: int = 0


@dataclass(frozen=True)
class AllSettings(RunSettings):
    """The settings of the full training, which the bundle records, and those of the retraining."""

    retrain: RetrainSettings = field(default_factory=RetrainSettings)
