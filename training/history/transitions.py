"""Counts which items follow which in the training data: the table of `models.search.history.transitions`.

Han et al. 2026 (arXiv 2605.07125) show that such a table, weighted by likeness of content, is by itself as good as many
trained models. The numbers below were chosen on the validation items of Amazon Beauty (docs/experiments.md).

Shapes: N items, E feature columns, P pairs of items, C pairs of a chunk.
"""

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from sklearn.preprocessing import normalize

from rqrec.models.search.history.transitions import KEPT, SESSION_GAP_S, Transitions
from rqrec.training.data.splits import Sequences
from rqrec.training.runtime.progress import progress

STEP_WEIGHTS = (1.0, 0.5, 1 / 3)  # of an item that comes one, two or three steps after another one
SHARPNESS = 2.0  # a transition to an item with the cosine c of the features counts exp(SHARPNESS * c)
COMPARED = 256  # following items of an item whose content is compared, those with the largest shares
PAIRS_PER_CHUNK = 1 << 16


@progress("transitions between items")
def fit_transitions(train: Sequences, features_NE: NDArray[np.float32]) -> Transitions:
    """Makes the table of the items that followed each item in the training data.

    The strength of a pair is the share of the following item among all items that followed (nearer ones count more),
    times exp(`SHARPNESS` * cosine of the features of both items). For each item, the `KEPT` strongest are kept. If the
    data has times, each pair also has a strength from those sessions alone; a longer pause than `SESSION_GAP_S` ends a
    session.

    Args:
        train: Training sequences of item_index. Dislikes follow nothing, and items count by their weights as targets.
        features_NE: Item features by item_index.
    """
    shares_NN = _largest(transition_shares(train, len(features_NE)), COMPARED)
    unit_NE = normalize(features_NE).astype(np.float32)
    strengths_P = shares_NN.data * _likeness(*_pairs(shares_NN), unit_NE)
    kept_NN = _largest(
        sparse.csr_matrix((strengths_P, shares_NN.indices, shares_NN.indptr), shape=shares_NN.shape), KEPT
    )
    in_session_P = None
    if train.times_I is not None:
        pairs = _pairs(kept_NN)
        shares_P = np.asarray(transition_shares(_sessions(train), len(features_NE))[pairs]).reshape(-1)
        in_session_P = shares_P * _likeness(*pairs, unit_NE)
    return Transitions(kept_NN.indptr.astype(np.int64), kept_NN.indices.astype(np.int32), kept_NN.data, in_session_P)


def _pairs(table_NN: sparse.csr_matrix) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Returns the row and the column of every entry of a table."""
    return np.repeat(np.arange(table_NN.shape[0]), np.diff(table_NN.indptr)), table_NN.indices


def _likeness(
    items_P: NDArray[np.integer], nexts_P: NDArray[np.integer], unit_NE: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Returns exp(`SHARPNESS` * cosine of the features) for each pair of items."""
    likeness_P = np.empty(len(items_P), dtype=np.float32)
    for begin in range(0, len(items_P), PAIRS_PER_CHUNK):
        chunk = slice(begin, begin + PAIRS_PER_CHUNK)
        cosines_C = np.einsum("ce,ce->c", unit_NE[items_P[chunk]], unit_NE[nexts_P[chunk]])
        likeness_P[chunk] = np.exp(np.float32(SHARPNESS) * cosines_C)
    return likeness_P


def _sessions(train: Sequences) -> Sequences:
    """Returns the same items with a row for each session instead of each user; `train` must have times."""
    is_first_I = np.ones(len(train.items_I), dtype=np.bool_)
    rows_I, times_I = train.rows_I, train.times_I
    assert times_I is not None
    is_first_I[1:] = (rows_I[1:] != rows_I[:-1]) | (np.diff(times_I) > SESSION_GAP_S)
    offsets_S = np.append(np.flatnonzero(is_first_I), len(is_first_I))
    return Sequences.from_arrays(train.items_I, offsets_S, train.weights_I, train.types_I, times_I)


def transition_shares(train: Sequences, num_items: int) -> sparse.csr_matrix:
    """Counts which item follows which, in a few steps; each row sums to 1, or to 0 if nothing followed.

    >>> train = Sequences.from_arrays(np.array([0, 1, 2], dtype=np.int32), np.array([0, 3]))
    >>> transition_shares(train, 3).toarray().astype(float).round(2).tolist()
    [[0.0, 0.67, 0.33], [0.0, 0.0, 1.0], [0.0, 0.0, 0.0]]

    Args:
        train: Training sequences of item_index.
        num_items: N.

    Returns:
        float32 of shape (N, N): row i says what followed item i.
    """
    shape = num_items, num_items
    counts_NN = sparse.csr_array(shape, dtype=np.float32)
    rows_I = train.rows_I
    for steps, weight in enumerate(STEP_WEIGHTS, start=1):
        is_pair = rows_I[:-steps] == rows_I[steps:]
        weights_P = np.full(int(is_pair.sum()), weight, dtype=np.float32)
        if train.weights_I is not None:
            weights_P *= train.weights_I[steps:][is_pair]
        pairs = train.items_I[:-steps][is_pair], train.items_I[steps:][is_pair]
        counts_NN = counts_NN + sparse.csr_array((weights_P, pairs), shape=shape)
    shares_NN = sparse.csr_matrix(normalize(counts_NN, norm="l1"))
    shares_NN.eliminate_zeros()  # dislikes
    return shares_NN


def _largest(table_NN: sparse.csr_matrix, kept: int) -> sparse.csr_matrix:
    """Returns only the largest entries of each row; of equal entries, those in the first columns."""
    rows_P = np.repeat(np.arange(table_NN.shape[0]), np.diff(table_NN.indptr))
    order_P = np.lexsort((table_NN.indices, -table_NN.data, rows_P))
    is_kept_P = np.arange(len(rows_P)) - table_NN.indptr[rows_P] < kept
    chosen_P = np.sort(order_P[is_kept_P])
    starts_N = np.concatenate([[0], np.cumsum(np.bincount(rows_P[chosen_P], minlength=table_NN.shape[0]))])
    return sparse.csr_matrix((table_NN.data[chosen_P], table_NN.indices[chosen_P], starts_N), shape=table_NN.shape)
