"""The items of a catalogue as tensors, from which the retriever computes item vectors.

Shapes: N items, L levels, E feature columns.
"""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rqrec.models.trie.tensors import TriePaths
from rqrec.models.trie.trie import SemanticIdTrie


class CatalogueTensors(NamedTuple):
    """The items of a catalogue as tensors for training. Entry n of a tensor belongs to leaf n of the trie.

    Attributes:
        paths: The semantic ID of each leaf, and the trie nodes on the path to it.
        features_NE: The features of each item, the same that the RQ-VAE reads, float32.
        rows_N: The row of each item in the item embedding table, int32.
        shares_N: The share of each item among all choices in the training data, float32 in [0, 1]. It corrects the
            relevance loss, because popular items are sampled more often.
    """

    paths: TriePaths
    features_NE: Tensor
    rows_N: Tensor
    shares_N: Tensor

    @property
    def prefixes_N(self) -> Tensor:
        """For each item of the catalogue, the number of its first two codes, int64; equal codes have equal numbers.

        It is the row of the item in the prefix embedding table of the item encoder. The number is that of the item's
        trie node at depth 2, or of its leaf if a semantic ID has fewer than 3 codes.
        """
        paths_NL = self.paths.paths_NL
        return paths_NL[:, 2] if paths_NL.shape[1] > 2 else torch.arange(len(paths_NL), device=paths_NL.device)

    @classmethod
    def from_trie(
        cls,
        trie: SemanticIdTrie,
        features_NE: NDArray[np.float32],
        popularity_N: NDArray[np.integer],
        device: torch.device,
    ) -> "CatalogueTensors":
        """Makes the tensors of a catalogue on a device, sorted in the order of the leaves.

        Args:
            trie: The trie of the catalogue, built from an array with one row per item.
            features_NE: The features of each item, in the row order of that array.
            popularity_N: How often users chose each item in the training data, in the row order of that array.
            device: The device of the tensors.
        """
        rows_N = trie.row_of_leaf_N
        shares_N = popularity_N[rows_N] / np.float32(max(popularity_N.sum(), 1))
        arrays = (features_NE[rows_N], rows_N, shares_N.astype(np.float32))
        return cls(TriePaths.from_trie(trie).to(device), *(torch.from_numpy(array).to(device) for array in arrays))
