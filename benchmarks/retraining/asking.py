"""Asks the model of a bundle what users choose in the next slice, with the recommender that serves.

Shapes: N items, Q test cases.
"""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rqrec.models.bundle.bundle import Bundle
from rqrec.models.bundle.item_features import read_item_features
from rqrec.models.bundle.tables import ITEM_ID
from rqrec.training.data.report import DataReport
from rqrec.training.data.splits import user_sequences
from rqrec.training.evaluation.metrics import gains, hits, ranks_of_targets
from rqrec.training.evaluation.rank_holdout import rank_holdout
from rqrec.training.features.features import Features
from rqrec.training.retrain.asking.parent_model import ParentModel
from rqrec.training.retrain.asking.questions import next_item_questions
from rqrec.training.retrain.run import settings_of
from rqrec.training.retrain.sources import read_sources
from rqrec.training.tokenize_items import SemanticIds

K, BEAM_WIDTH = 10, 50


class Answers(NamedTuple):
    """How good the answers of a model are, by test case.

    Attributes:
        ndcg_Q: NDCG@10.
        recall_Q: Recall@10.
        user_Q: The id of each test case's user.
    """

    ndcg_Q: NDArray[np.float64]
    recall_Q: NDArray[np.float64]
    user_Q: NDArray[np.str_]


def ask(model: Bundle, catalogue: Bundle, sources: Sequence[Path], *, after_s: int, data_dir: Path) -> Answers:
    """Asks a model about every interaction after a time. Histories are live: they hold all that the user did before.

    Interactions with items that the catalogue does not have are neither asked about nor in histories.

    Args:
        model: The bundle of the model.
        catalogue: A bundle with all items: `model` itself, or one that a retraining made from it. Its further items are
            known to the model as the service knows written items.
        sources: Folders of all interactions.
        after_s: The time, in seconds since 1970.
        data_dir: The folder of downloaded releases.
    """
    features_NE = np.array(read_item_features(catalogue))
    ids = SemanticIds(catalogue.learned.codes_RL, catalogue.manifest.codebook_size, {})
    recommender = ParentModel.load(model, Features(features_NE, catalogue.featurizer), ids).recommender()
    settings = settings_of(catalogue).dataset
    names, now_s = [str(one) for one in sources], int(time.time())
    read = read_sources(names, catalogue, settings, data_dir=data_dir, report=DataReport(), until_s=now_s)
    sequences = user_sequences(read.dataset)
    sequences = sequences.only(sequences.items_I < len(features_NE))
    assert sequences.times_I is not None
    asked, user_Q = next_item_questions(sequences, sequences.times_I > after_s)
    lists_QK = rank_holdout(
        recommender,
        asked,
        k=K,
        beam_width=BEAM_WIDTH,
        exclude_history=model.manifest.exclude_history,
        disliked_types=read.dataset.disliked_types,
        name="asking",
    )
    ranks_Q = ranks_of_targets(lists_QK, asked.targets_U)
    return Answers(gains(ranks_Q, k=K), hits(ranks_Q, k=K), read.dataset.user_ids.to_numpy().astype(np.str_)[user_Q])


def share_of_kept_ids(before: Bundle, after: Bundle) -> float:
    """Returns the share of a bundle's items that have the same semantic ID in another bundle.

    Args:
        before: The bundle with the items.
        after: The other bundle.
    """
    ids = dict(zip(after.items[ITEM_ID].to_list(), map(tuple, after.learned.codes_RL.tolist()), strict=True))
    kept = [
        ids.get(item_id) == tuple(codes)
        for item_id, codes in zip(before.items[ITEM_ID].to_list(), before.learned.codes_RL.tolist(), strict=True)
    ]
    return float(np.mean(kept))
