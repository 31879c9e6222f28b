"""What a retraining counts and does not learn: the items that followed each item, and the long-term vectors.

It counts in all that the sources hold. If they lack most of what the bundle has learnt, such as events alone, the
tables of the bundle know more, and stay.

Shapes: N items, E feature columns, I interactions.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from rqrec.models.bundle.bundle import Bundle
from rqrec.models.retriever.retriever import Retriever
from rqrec.models.search.history.transitions import Transitions
from rqrec.training.data.splits import Sequences
from rqrec.training.history.long_term import renew_long_term
from rqrec.training.history.transitions import fit_transitions
from rqrec.training.retriever.decoder_settings import DecoderSettings

LEAST_OLD = 0.5  # of the interactions that the bundle has learnt


def lacks_old(num_old: int, parent: Bundle) -> bool:
    """Returns whether the sources lack most of the interactions that a bundle has learnt.

    Args:
        num_old: Number of interactions in the sources that are not new.
        parent: The bundle.
    """
    return bool(num_old < LEAST_OLD * parent.learned.popularity_R.sum())


def grown_transitions(parent: Bundle, num_items: int) -> Transitions | None:
    """Returns the transitions of a bundle by row; None if it has none.

    Args:
        parent: The bundle.
        num_items: N, the number of items with the new ones, which nothing follows.
    """
    if parent.transitions is None:
        return None
    by_row = parent.transitions.reordered(parent.learned.leaf_of_row_R)
    count = num_items - len(parent.items)
    return replace(by_row, starts_N=np.append(by_row.starts_N, np.full(count, by_row.starts_N[-1])))


def counted_anew(
    model: Retriever,
    sequences: Sequences,
    is_new_I: NDArray[np.bool_],
    features_NE: NDArray[np.float32],
    settings: DecoderSettings,
    parent: Bundle,
) -> Transitions:
    """Computes the long-term vectors of a retriever anew, if it has any, and the transitions.

    Args:
        model: The retriever, which is changed. Its vectors are those of the bundle, grown to all items.
        sequences: All sequences of item_index that the sources hold.
        is_new_I: Which of their interactions the bundle has not learnt.
        features_NE: The features of all items.
        settings: The settings of the long-term vectors.
        parent: The bundle.

    Returns:
        The transitions: those of the bundle if the sources lack most of what it has learnt.
    """
    if not lacks_old(int((~is_new_I).sum()), parent):
        renew_long_term(model, sequences, settings)
        return fit_transitions(sequences, features_NE)
    return grown_transitions(parent, len(features_NE)) or fit_transitions(sequences, features_NE)
