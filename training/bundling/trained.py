"""What the stages before publishing have made: their results by stage, and the parts of them that a bundle holds.

Shapes: N items, R items of the bundle from which a retraining went on.
"""

from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from rqrec.models.array_types import FloatArray
from rqrec.models.bundle.bundle import Bundle
from rqrec.models.retriever.retriever import Retriever
from rqrec.models.search.history.bonus import HistoryBonus
from rqrec.models.search.history.transitions import Transitions
from rqrec.models.tokenizer.rqvae import RqVae
from rqrec.training.data.dataset import Dataset
from rqrec.training.data.prepare import load_split
from rqrec.training.data.splits import Sequences, user_sequences
from rqrec.training.evaluation.baselines import item_popularity
from rqrec.training.features.features import Features, load_features
from rqrec.training.runtime.workspace import Stage
from rqrec.training.tokenize_items import SemanticIds, load_semantic_ids
from rqrec.training.train_decoder import load_history_bonus, load_retriever, load_transitions
from rqrec.training.train_rqvae import load_rqvae


@dataclass(frozen=True)
class Trained:
    """The results of all stages that come before publishing, and the settings that the bundle records.

    Attributes:
        data: The result of `prepare_data`: the checked data and its split.
        features: The result of `make_features`: the features of all items.
        rqvae: The result of `train_rqvae`: the trained RQ-VAE.
        tokens: The result of `tokenize_items`: the semantic IDs of all items.
        decoder: The result of `train_decoder`: the trained retriever.
        evaluation: The result of `evaluate`: the metrics of the retriever and the baselines.
        refit: The result of `refit_decoder`: the retriever after it has learnt from all interactions. None to publish
            the retriever of `decoder`.
        text_encoder: Name of the encoder of the items' texts; see `training.features.text.encode_texts`. It is not
            used after a retraining, which keeps the text encoder of `parent`.
        config: All settings of the run, as the text of a gin file.
        parent: The bundle from which a retraining went on; None after a full training.
    """

    data: Stage
    features: Stage
    rqvae: Stage
    tokens: Stage
    decoder: Stage
    evaluation: Stage
    refit: Stage | None
    text_encoder: str
    config: str
    parent: Bundle | None = None

    @property
    def published(self) -> Stage:
        """The stage that holds the retriever to publish."""
        return self.refit or self.decoder


@dataclass(frozen=True)
class Learned:
    """What the stages learned, as it goes into the bundle; tables are by item_index.

    Attributes:
        features: The features of all items, and the featurizer.
        ids: The semantic IDs of all items.
        tokenizer: The trained RQ-VAE.
        retriever: The retriever to publish.
        popularity_N: How often users chose each item in the interactions that the retriever has learnt.
        learnt_until: The time of the latest of these interactions that is not after the reading of the data, ISO 8601,
            UTC; empty if the data has no times.
        bonus: The bonus of own and following items.
        transitions: The items that followed each item.
        map_R2: The places of the first R items on the map of the bundle from which a retraining went on; else None.
    """

    features: Features
    ids: SemanticIds
    tokenizer: RqVae
    retriever: Retriever
    popularity_N: NDArray[np.int64]
    learnt_until: str
    bonus: HistoryBonus
    transitions: Transitions
    map_R2: FloatArray | None

    @classmethod
    def load(cls, trained: Trained, dataset: Dataset) -> "Learned":
        """Reads what goes into the bundle from the results of the stages.

        Args:
            trained: The results of the stages.
            dataset: The data set of the stage `trained.data`.
        """
        features = load_features(trained.features)
        learnt = load_split(trained.data).train if trained.refit is None else user_sequences(dataset)
        return cls(
            features,
            load_semantic_ids(trained.tokens),
            load_rqvae(trained.rqvae),
            load_retriever(trained.published),
            learnt_popularity(learnt, len(features.features_NE), trained.parent),
            latest_time(learnt, trained.data.finished_at_s),
            load_history_bonus(trained.published),
            load_transitions(trained.published),
            None if trained.parent is None or trained.parent.map is None else trained.parent.map.places_R2,
        )


def learnt_popularity(learnt: Sequences, num_items: int, parent: Bundle | None) -> NDArray[np.int64]:
    """Counts how often users chose each item in the interactions that a model has learnt.

    A retrained model has learnt what its parent knew, and all interactions that are newer. So the counts of the parent
    go on, also if the old interactions are not there any more.

    Args:
        learnt: The sequences that were read.
        num_items: N, the number of items. The first ones are those of the parent.
        parent: The bundle from which the retraining went on; None after a full training.

    Returns:
        Counts by item_index, int64, shape (N,).
    """
    if parent is None:
        return item_popularity(learnt, num_items)
    counts_N = item_popularity(learnt.only(is_newer(learnt, parent)), num_items)
    counts_N[: len(parent.learned.popularity_R)] += parent.learned.popularity_R
    return counts_N


def is_newer(sequences: Sequences, parent: Bundle) -> NDArray[np.bool_]:
    """Returns for each interaction whether it is newer than all that a bundle has learnt, shape (I,).

    Args:
        sequences: Sequences with times.
        parent: A bundle that says until when it has learnt.
    """
    assert sequences.times_I is not None
    return sequences.times_I > datetime.fromisoformat(parent.manifest.learnt_until).timestamp()


def latest_time(learnt: Sequences, read_at_s: float) -> str:
    """Returns the latest time of sequences that is not after the reading of the data; if all are, this time.

    A later time comes from a wrong clock. As the end of what is learnt, it would keep a retraining from what happened
    after the reading.

    Args:
        learnt: The sequences that a model has learnt.
        read_at_s: When the data was read, in seconds since 1970.

    Returns:
        The time, ISO 8601, UTC; empty if there are no interactions or no times.
    """
    if learnt.times_I is None or not len(learnt.times_I):
        return ""
    happened_I = learnt.times_I[learnt.times_I <= read_at_s]
    latest = happened_I.max() if len(happened_I) else read_at_s
    return datetime.fromtimestamp(int(latest), UTC).isoformat()
