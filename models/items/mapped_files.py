"""Writes the files that the service maps into its memory, for the bundle of a large catalogue.

Shapes: R items, D width of vectors, P content width.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rqrec.models.array_file import write_array
from rqrec.models.array_types import FloatArray, IntArray
from rqrec.models.bundle.layout import ITEM_VECTORS
from rqrec.models.bundle.mapped.content_clusters import write_content_clusters
from rqrec.models.bundle.mapped.new_items import write_new_items
from rqrec.models.bundle.mapped.transitions import write_mapped_transitions
from rqrec.models.items.content_neighbours import SomeRows, content_clusters
from rqrec.models.search.history.transitions import Transitions
from rqrec.models.trie.trie import SemanticIdTrie


def write_mapped_files(
    folder: Path,
    trie: SemanticIdTrie,
    popularity_R: IntArray,
    vectors_RD: FloatArray,
    contents_RP: NDArray[np.floating],
    transitions: Transitions | None,
) -> None:
    """Writes the vectors, the indexes of new items and of contents, and the transitions into a bundle's folder.

    Args:
        folder: The bundle's folder.
        trie: The trie of the semantic IDs.
        popularity_R: How often users chose each item in the training data.
        vectors_RD: The vector of each item, float32.
        contents_RP: The content vector of each item, as the bundle holds it.
        transitions: The items that followed each item, by row; None if they are no candidates.
    """
    vectors_ND = vectors_RD[trie.row_of_leaf_N]
    write_array(folder / ITEM_VECTORS, vectors_ND)
    write_new_items(folder, popularity_R[trie.row_of_leaf_N], vectors_ND)
    known = np.flatnonzero(popularity_R) if popularity_R.any() else np.arange(len(popularity_R))
    write_content_clusters(content_clusters(SomeRows(contents_RP, known)), folder)
    if transitions is not None:
        write_mapped_transitions(transitions.reordered(trie.row_of_leaf_N), folder)
