"""Fits what ranks beside the trained networks to the validation users: the bonus, and the long-term vectors' weight.

Shapes: N items, E feature columns, D width of an item vector, G columns of a long-term vector.
"""

import logging
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from rqrec.models.retriever.catalogue_tensors import CatalogueTensors
from rqrec.models.retriever.retriever import Retriever
from rqrec.models.search.history.bonus import HistoryBonus
from rqrec.models.search.history.transitions import Following, Transitions
from rqrec.models.search.torch_engine import TorchEngine
from rqrec.models.trie.trie import SemanticIdTrie
from rqrec.training.data.splits import Split
from rqrec.training.data.splitting.leave_one_out import leave_one_out
from rqrec.training.evaluation.baselines import item_popularity
from rqrec.training.history.bonus_fit import fit_history_bonus
from rqrec.training.history.long_term import fit_long_term
from rqrec.training.history.transitions import fit_transitions
from rqrec.training.retriever.decoder_settings import DecoderSettings
from rqrec.training.runtime.device import training_device

logger = logging.getLogger("rqrec")


def fit_on_validation(
    model: Retriever,
    trie: SemanticIdTrie,
    features_NE: NDArray[np.float32],
    split: Split,
    transitions: Transitions,
    settings: DecoderSettings,
    exclude_history: bool,
    disliked_types: Sequence[int],
) -> HistoryBonus:
    """Fits the bonus of own and following items, and gives the retriever long-term vectors if they help.

    The fit is on validation users; without any, on the last training items, which the tables then must not know. A
    model is too sure of items that it was trained on, so validation is better.

    Args:
        model: The trained retriever without long-term vectors, which is changed. It is on the CPU afterwards.
        trie: The trie of the catalogue's semantic IDs.
        features_NE: Item features by item_index.
        split: The sequences that the model was trained on, and the validation users.
        transitions: The items that followed each item in the training data.
        settings: The settings of the retriever.
        exclude_history: Whether lists leave out the items of the history.
        disliked_types: The numbers of the event types that are dislikes.
    """
    device, holdout, known = training_device(), split.validation, split.train
    if not len(holdout):
        last = leave_one_out(split.train, held_out_items=1)
        holdout, known, transitions = last.test, last.train, fit_transitions(last.train, features_NE)
    catalogue = CatalogueTensors.from_trie(trie, features_NE, item_popularity(split.train, len(features_NE)), device)
    vectors_ND = model.to(device).item_vectors(catalogue)
    long_term, long_term_NG = None, None
    if settings.long_term_width and settings.relevance_weight:
        long_term = fit_long_term(known, len(features_NE), settings)
        long_term_NG = long_term.items.weight[torch.from_numpy(trie.row_of_leaf_N).long()].numpy()
    following = Following(transitions.reordered(trie.row_of_leaf_N), weight=0.0)
    fitted = fit_history_bonus(
        TorchEngine(model, trie, vectors_ND, device=device, following=following),
        trie,
        holdout.sample(settings.validation_users, seed=settings.seed),
        vectors_ND.cpu().numpy(),
        max_history=settings.max_history,
        beam_width=settings.beam_width,
        relevance_weight=settings.relevance_weight,
        exclude_history=exclude_history,
        disliked_types=disliked_types,
        long_term_NG=long_term_NG,
    )
    model.cpu()
    if long_term is not None and not fitted.long_term:
        logger.info("decoder: without long-term vectors, which bring the validation users too little")
    if fitted.long_term and long_term is not None:
        logger.info("decoder: long-term vectors of %d columns, weight %.3g", long_term.config.width, fitted.long_term)
        if known is not split.train:
            long_term = fit_long_term(split.train, len(features_NE), settings)
        model.set_long_term(long_term.weighted(fitted.long_term))
    return fitted.history
