"""The vectors of written items, and the leaves at which they stay.

An item that training knew keeps its learned vector, whatever is written about it later. Every other item gets a vector
from its content.

Shapes: M written items, L levels, D width.
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

    Args:
        written: The M items.
        table: Any state of the catalogue's table.
        tokenizer: Holds the learned vectors, and makes vectors from content.
    """
    leaf_M = _trained_leaves(written, table, tokenizer)
    vectors_MD = tokenizer.vectors_RD[table.trie.row_of_leaf_N[leaf_M]]
    unknown = np.flatnonzero(leaf_M == NO_LEAF)
    if len(unknown):
        features = [np.frombuffer(written[number].put.features, dtype=np.float32) for number in unknown.tolist()]
        vectors_MD[unknown] = tokenizer.vectors(np.stack(features))
    return vectors_MD


def own_leaves(written: Sequence[Entry], table: ItemTable, tokenizer: ItemTokenizer) -> IntArray:
    """Returns the leaf of every item that stays at its leaf, `NO_LEAF` for the others; shape (M,).

    An item stays at its leaf if training knew it and its semantic ID is unchanged. Only then can the search find it
    as it did before.

    Args:
        written: The M items.
        table: Any state of the catalogue's table.
        tokenizer: Says which items training knew.
    """
    leaf_M = _trained_leaves(written, table, tokenizer)
    known = np.flatnonzero(leaf_M != NO_LEAF)
    codes = [written[number].semantic_id for number in known.tolist()]
    codes_XL = np.array(codes, dtype=np.int64).reshape(-1, table.trie.num_levels)
    has_moved_X = (table.trie.codes_of(leaf_M[known]) != codes_XL).any(axis=1)
    leaf_M[known[has_moved_X]] = NO_LEAF
    return leaf_M


def _trained_leaves(written: Sequence[Entry], table: ItemTable, tokenizer: ItemTokenizer) -> IntArray:
    """The leaves of the items that training knew, `NO_LEAF` for the others; shape (M,)."""
    leaf_M = np.array([table.leaf_of_id.get(one.put.item_id, NO_LEAF) for one in written], dtype=np.int64)
    return np.where(tokenizer.is_known_R[table.trie.row_of_leaf_N[leaf_M]], leaf_M, NO_LEAF)
