"""Grows the networks of a bundle to a larger catalogue: rows of known items are copied, new ones get neighbours' means.

An item that users had not chosen before starts from the items with the most similar content that they had chosen; see
`models.items.content_neighbours`.

Shapes: N items, R items of the bundle, M items without learnt rows, P prefixes, E feature columns, D width.
"""

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file

from rqrec.models.array_types import FloatArray, IntArray
from rqrec.models.bundle.bundle import Bundle
from rqrec.models.bundle.layout import RETRIEVER_WEIGHTS
from rqrec.models.items.content_neighbours import ContentNeighbours
from rqrec.models.retriever.retriever import Retriever
from rqrec.models.trie.trie import SemanticIdTrie

OWN, PREFIXES = "items.own.weight", "items.prefixes.weight"
SHORT_TERM, LONG_TERM = "short_term.items.weight", "long_term.items.weight"


def bundle_retriever(bundle: Bundle) -> Retriever:
    """Loads the retriever of a bundle, on the CPU and in evaluation mode."""
    model = Retriever(bundle.manifest.retriever_config)
    model.load_state_dict(load_file(bundle.path / RETRIEVER_WEIGHTS))
    return model.eval()


def grown_retriever(bundle: Bundle, trie: SemanticIdTrie, features_NE: FloatArray) -> Retriever:
    """Makes a retriever for all items from the one of a bundle.

    Args:
        bundle: The bundle. Its items are the first rows of the catalogue.
        trie: The trie of all items.
        features_NE: The features of all items.

    Returns:
        The retriever, on the CPU and in evaluation mode. Its short-term encoder and its long-term
        vectors have grown too.
    """
    old = bundle_retriever(bundle)
    weights, size = old.state_dict(), len(features_NE)
    rows = _Rows(bundle, features_NE)
    for table in {OWN, SHORT_TERM, LONG_TERM} & set(weights):
        weights[table] = torch.from_numpy(rows.grown(weights[table].numpy()))
    if PREFIXES in weights:
        weights[PREFIXES] = torch.from_numpy(_grown_prefixes(weights[PREFIXES].numpy(), bundle, trie, rows))
    short_term, long_term = old.config.short_term, old.config.long_term
    model = Retriever(
        replace(
            old.config,
            num_items=size if OWN in weights else 0,
            num_prefixes=len(weights[PREFIXES]) if PREFIXES in weights else 0,
            short_term=short_term and replace(short_term, num_items=size),
            long_term=long_term and replace(long_term, num_items=size),
        )
    )
    model.load_state_dict(weights)
    return model.eval()


class _Rows:
    """Grows tables with one row for each item of a bundle."""

    def __init__(self, bundle: Bundle, features_NE: FloatArray) -> None:
        is_learnt_R = bundle.learned.popularity_R > 0
        self._bundle, self._learnt = bundle, np.flatnonzero(is_learnt_R)
        self.without = np.flatnonzero(np.append(~is_learnt_R, np.ones(len(features_NE) - len(is_learnt_R), bool)))
        self._features_ME, self._size = features_NE[self.without], len(features_NE)

    def grown(self, rows_RD: FloatArray) -> FloatArray:
        """Returns the table of all items: copied rows, and means for items that nobody had chosen."""
        grown_ND = np.zeros((self._size, rows_RD.shape[1]), dtype=np.float32)
        grown_ND[: len(rows_RD)] = rows_RD
        if len(self.without) and len(self._learnt):
            contents_NP = self._bundle.contents_RP[self._learnt]
            neighbours = ContentNeighbours(self._bundle.projection_EP, contents_NP, rows_RD[self._learnt])
            grown_ND[self.without] = neighbours.vectors(self._features_ME)
        return grown_ND


def _grown_prefixes(rows_PD: FloatArray, bundle: Bundle, trie: SemanticIdTrie, rows: _Rows) -> FloatArray:
    """Returns the table of prefixes: known ones are copied, a new one is the mean over its items."""
    old = SemanticIdTrie.build(bundle.learned.codes_RL, codebook_size=bundle.manifest.codebook_size)
    old_keys, old_prefix_R = prefixes_of(old)
    keys, prefix_N = prefixes_of(trie)
    by_item_ND = rows.grown(rows_PD[old_prefix_R])
    sums_PD = np.zeros((len(keys), rows_PD.shape[1]), dtype=np.float32)
    np.add.at(sums_PD, prefix_N, by_item_ND)
    grown_PD = np.asarray(sums_PD / np.bincount(prefix_N, minlength=len(keys))[:, None], dtype=np.float32)
    grown_PD[np.searchsorted(keys, old_keys)] = rows_PD
    return grown_PD


def prefixes_of(trie: SemanticIdTrie) -> tuple[IntArray, NDArray[np.integer]]:
    """Returns the keys of all prefixes of two codes, ascending, and the number of the prefix of each item (row).

    Args:
        trie: The trie of N items.
    """
    keys_N = trie.keys_N // trie.codebook_size ** max(trie.num_levels - 2, 0)
    keys, prefix_of_leaf_N = np.unique(keys_N, return_inverse=True)
    return keys, prefix_of_leaf_N[trie.leaf_of_row_N]
