"""Computes the long-term vectors of items: a linear autoencoder of low rank, without training by gradients.

Let X be the matrix of users and items, 1 where a user chose an item. The linear autoencoder of Steck 2019 (arXiv
1905.03375) scores an item j that a user x has not chosen by -(x P)_j / P_jj, with P = (X'X + shrinkage I)^-1. With the
eigenvectors V and eigenvalues S of X'X, and U = V sqrt(S / (S + shrinkage)), this is x U U_j / (1 - |U_j|^2). Only the
largest eigenvalues matter, so a truncated SVD of X is enough. The factor of item j is shared between both items, so
that one vector per item serves both: A_j = U_j / sqrt(1 - |U_j|^2), and the score is the sum of A_i A_j over the
items i of the history. All A_j are divided by LONGEST, so none is longer than 1.

Shapes: U users, N items, I interactions, G columns of a long-term vector.
"""

from dataclasses import replace

import numpy as np
import torch
from scipy import sparse

from rqrec.models.retriever.config import LongTermConfig
from rqrec.models.retriever.long_term import LongTermVectors
from rqrec.models.retriever.retriever import Retriever
from rqrec.training.data.splits import Sequences
from rqrec.training.features.svd import fit_svd
from rqrec.training.retriever.decoder_settings import DecoderSettings
from rqrec.training.runtime.progress import progress

MOST_USERS = 1_000_000  # whose choices are counted; of more users, these are drawn at random
LARGEST = 0.8  # of |U_j|^2; without a limit, vectors could have any length
LONGEST = 2.0  # sqrt(LARGEST / (1 - LARGEST))


@progress("long-term vectors")
def fit_long_term(train: Sequences, num_items: int, settings: DecoderSettings) -> LongTermVectors:
    """Computes the long-term vectors of all items. Their weight is 0.

    Args:
        train: Training sequences of item_index. Dislikes count for nothing.
        num_items: N.
        settings: The width of the vectors, their shrinkage and the seed.
    """
    width = min(settings.long_term_width, num_items)
    choices_UN = _choices(_some_users(train, settings.seed), num_items)
    known = min(width, num_items, choices_UN.shape[0])
    vectors_NG = np.zeros((num_items, width), dtype=np.float32)
    if choices_UN.nnz:
        svd, _ = fit_svd(choices_UN, known, seed=settings.seed)
        squares_G = np.square(svd.singular_values_)
        shrunk_NG = svd.components_.T * np.sqrt(squares_G / (squares_G + settings.long_term_shrinkage))
        own_N1 = np.square(shrunk_NG).sum(axis=1, keepdims=True)
        shrunk_NG *= np.sqrt(LARGEST / own_N1.clip(min=LARGEST))
        own_N1 = own_N1.clip(max=LARGEST)
        vectors_NG[:, :known] = shrunk_NG / np.sqrt(1 - own_N1) / LONGEST
    vectors = LongTermVectors(LongTermConfig(num_items, width))
    vectors.items.weight.copy_(torch.from_numpy(vectors_NG))
    return vectors.eval()


def _some_users(train: Sequences, seed: int) -> Sequences:
    """All users, or a random part of very many."""
    if len(train) <= MOST_USERS:
        return train
    keep_U = np.zeros(len(train), dtype=np.bool_)
    keep_U[np.random.default_rng(seed).choice(len(train), MOST_USERS, replace=False)] = True
    return train.select(keep_U)


def _choices(train: Sequences, num_items: int) -> sparse.csr_matrix:
    """The matrix X, shape (U, N), float32."""
    return sparse.csr_matrix(sparse.vstack([_block(block, num_items) for block in train.blocks()], format="csr"))


def _block(train: Sequences, num_items: int) -> sparse.csr_matrix:
    chosen_I = np.ones(len(train.items_I), dtype=np.float32) if train.weights_I is None else train.is_wanted_I
    arrays = chosen_I.astype(np.float32), train.items_I, train.offsets_U
    # A copy, because the next lines change the arrays, which may be those of the sequences.
    choices_UN = sparse.csr_matrix(arrays, shape=(len(train), num_items), copy=True)
    choices_UN.sum_duplicates()
    choices_UN.eliminate_zeros()
    choices_UN.data[:] = 1
    return choices_UN


def renew_long_term(model: Retriever, sequences: Sequences, settings: DecoderSettings) -> None:
    """Computes the long-term vectors of a retriever anew, from more interactions. Their weight stays.

    Args:
        model: The retriever, which is changed. One without long-term vectors stays without them.
        sequences: All sequences of item_index.
        settings: The settings of the vectors.
    """
    if model.long_term is not None:
        sizes = model.long_term.config
        vectors = fit_long_term(sequences, sizes.num_items, replace(settings, long_term_width=sizes.width))
        vectors.weight.copy_(model.long_term.weight)
        model.set_long_term(vectors)
