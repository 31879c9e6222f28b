"""Counts the items below a prefix of semantic IDs, and below each code that follows it.

Shapes: C children of a prefix, N leaves of the trie, S written rows.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from rqrec.models.array_types import IntArray
from rqrec.service.catalogue.item_table import ItemTable

NOTHING: IntArray = np.empty(0, dtype=np.int64)


class Node(NamedTuple):
    """A node of the tree of semantic IDs, with the codes that follow its prefix, in ascending order.

    Attributes:
        num_items: The number of items below the node.
        codes_C: The code of each child, int64.
        counts_C: The number of items below each child, int64; at least 1.
    """

    num_items: int
    codes_C: IntArray
    counts_C: IntArray


def read_node(table: ItemTable, prefix: Sequence[int]) -> Node:
    """Counts the items below a prefix and below each code that follows it: written items count, deleted ones do not.

    Args:
        table: All items.
        prefix: The first codes of semantic IDs, integers of at least 0; empty for the whole catalogue. After all L
            codes, or after codes that no item has, there are no children.
    """
    levels, size = table.trie.num_levels, table.trie.codebook_size
    if len(prefix) >= levels or not all(code < size for code in prefix):
        return Node(len(table.below(prefix)), NOTHING, NOTHING)
    counts_V = np.zeros(size, dtype=np.int64)
    codes_C, counts_C = _at_leaves(table, prefix)
    counts_V[codes_C] = counts_C
    is_below_S = table.is_occupied.rows.copy()
    for level, code in enumerate(prefix):
        is_below_S &= table.row_codes.rows[:, level] == code
    counts_V += np.bincount(table.row_codes.rows[is_below_S, len(prefix)], minlength=size)
    codes_C = np.flatnonzero(counts_V)
    return Node(int(counts_V.sum()), codes_C, counts_V[codes_C])


def _at_leaves(table: ItemTable, prefix: Sequence[int]) -> tuple[IntArray, IntArray]:
    """The codes and numbers of items of those children that have leaves."""
    trie, depth = table.trie, len(prefix)
    first, last = trie.leaf_range(prefix)
    if first == last:
        return NOTHING, NOTHING
    node = int(np.searchsorted(trie.leaf_start[depth], first, side="right")) - 1
    begin, end = trie.child_start[depth][node : node + 2].tolist()
    is_leaf = depth + 1 == trie.num_levels
    starts_C = np.arange(first, last) if is_leaf else trie.leaf_start[depth + 1][begin:end].astype(np.int64)
    is_here = table.place_of_leaf_N[first:last] == np.arange(first, last)
    counts_C = np.add.reduceat(is_here, starts_C - first, dtype=np.int64)
    return trie.child_code[depth][begin:end].astype(np.int64), counts_C
