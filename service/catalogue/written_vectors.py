"""Finds the vector of each written item, and which written items keep their leaf of the trie.

A written item is one that was added or replaced after the model was published. If the published model contains the item
and some user chose it in the training data, it keeps its learned vector, whatever is written about it later. Every
other item gets a vector that is computed from its content.

Shapes: M written items, L levels, D width, P content width.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from rqrec.models.array_types import IntArray
from rqrec.models.items.item_tokenizer import ItemTokenizer
from rqrec.models.trie.trie import NO_LEAF
from rqrec.service.catalogue.changes import Entry
from rqrec.service.catalogue.item_table import ItemTable


def vectors_of(written: Sequence[Entry], table: ItemTable, tokenizer: ItemTokenizer) -> NDArray[np.float32]:
    """Returns the vectors of written items, float32 of shape (M, D).

    An item that some user chose in the training data keeps its learned vector. Every other item gets a vector that is
    computed from its content.

    Args:
        written: The M written items.
        table: The item table of any state of the catalogue.
        tokenizer: The model's item tokenizer: it has the learned vectors, and computes vectors from content.
    """
    leaf_M = _trained_leaves(written, table, tokenizer)
    vectors_MD = tokenizer.vectors_ND[leaf_M]
    unknown = np.flatnonzero(leaf_M == NO_LEAF)
    if len(unknown):
        vectors_MD[unknown] = tokenizer.vectors(_features([written[number] for number in unknown.tolist()]))
    return vectors_MD


def contents_of(written: Sequence[Entry], tokenizer: ItemTokenizer) -> NDArray[np.float32]:
    """Returns the content vectors of written items, float32 of shape (M, P). Known items have new ones too.

    Args:
        written: The M written items.
        tokenizer: The model's item tokenizer, which computes content vectors from features.
    """
    features_ME = _features(written) if written else np.empty((0, tokenizer.featurizer.width), dtype=np.float32)
    return tokenizer.contents(features_ME)


def own_leaves(written: Sequence[Entry], table: ItemTable, tokenizer: ItemTokenizer) -> IntArray:
    """Finds out which written items keep their leaf of the trie.

    Returns an int64 array of shape (M,): for each written item its leaf, or `NO_LEAF` if it has none or cannot keep it.

    Each item of the published model has a leaf of its own in the trie, at its semantic ID. When the item is written
    again, it keeps this leaf under two conditions: some user chose the item in the training data, and its semantic ID
    is still the one of the leaf. Then the search can generate the semantic ID as before. Every other written item is
    searched beside the trie.

    Args:
        written: The M written items.
        table: The item table of any state of the catalogue.
        tokenizer: The model's item tokenizer, which knows the items that some user chose in the training data.
    """
    leaf_M = _trained_leaves(written, table, tokenizer)
    known = np.flatnonzero(leaf_M != NO_LEAF)
    codes = [written[number].semantic_id for number in known.tolist()]
    codes_XL = np.array(codes, dtype=np.int64).reshape(-1, table.trie.num_levels)
    has_moved_X = (table.trie.codes_of(leaf_M[known]) != codes_XL).any(axis=1)
    leaf_M[known[has_moved_X]] = NO_LEAF
    return leaf_M


def _features(written: Sequence[Entry]) -> NDArray[np.float32]:
    """The features of at least one written item, shape (M, E)."""
    return np.stack([np.frombuffer(one.put.features, dtype=np.float32) for one in written])


def _trained_leaves(written: Sequence[Entry], table: ItemTable, tokenizer: ItemTokenizer) -> IntArray:
    """The leaves of the items that training knew, `NO_LEAF` for the others; shape (M,)."""
    leaf_M = table.leaf_of_id.leaves([one.put.item_id for one in written])
    return np.where(tokenizer.is_known_R[table.trie.row_of_leaf_N[leaf_M]], leaf_M, NO_LEAF)
