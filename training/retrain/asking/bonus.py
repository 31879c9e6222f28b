"""Fits the bonus of own and following items anew, on the new interactions.

The model of the bundle is asked, which has learnt none of them, as users ask it between two retrainings.
"""

from collections.abc import Sequence

import torch

from rqrec.models.bundle.bundle import Bundle
from rqrec.models.search.history.bonus import HistoryBonus
from rqrec.models.search.history.transitions import Following
from rqrec.models.search.torch_engine import TorchEngine
from rqrec.training.data.splits import Holdout
from rqrec.training.features.features import Features
from rqrec.training.history.bonus_fit import fit_history_bonus
from rqrec.training.retrain.asking.parent_model import ParentModel
from rqrec.training.tokenize_items import SemanticIds

FEW = 100  # with fewer test cases, the bonus stays as it is


def refitted_bonus(
    bundle: Bundle,
    features: Features,
    ids: SemanticIds,
    asked: Holdout,
    *,
    beam_width: int,
    disliked_types: Sequence[int] = (),
) -> HistoryBonus:
    """Fits the bonus of a bundle to test cases that its model has not learnt.

    The more test cases there are, the further the weights go from those that they were.

    Args:
        bundle: The bundle.
        features: The features of all items, those of the bundle first.
        ids: The semantic IDs of all items.
        asked: The test cases, of item_index.
        beam_width: Beam width of the search.
        disliked_types: The numbers of the event types that are dislikes.
    """
    if len(asked) < FEW:
        return bundle.manifest.history_bonus
    model = ParentModel.load(bundle, features, ids)
    trie, config = model.trie, model.retriever.config
    vectors_ND = model.vectors_ND[trie.row_of_leaf_N]
    table = None if model.transitions is None else model.transitions.reordered(trie.row_of_leaf_N)
    engine = TorchEngine(
        model.retriever,
        trie,
        torch.from_numpy(vectors_ND),
        device=next(model.retriever.parameters()).device,
        following=None if table is None else Following(table, weight=0.0),
    )
    return fit_history_bonus(
        engine,
        trie,
        asked,
        vectors_ND,
        max_history=config.max_history,
        beam_width=beam_width,
        relevance_weight=config.relevance_weight,
        exclude_history=bundle.manifest.exclude_history,
        disliked_types=disliked_types,
        before=bundle.manifest.history_bonus,
    ).history
