"""The trie as tensors, with the softmax over a node's valid children that training and search share.

Shapes: L levels, V codes per level, N leaves, F children of the widest node at a depth, … any leading axes.
"""

from typing import NamedTuple, Self

import numpy as np
import torch
from torch import Tensor

from rqrec.models.trie.arrays import TrieArrays
from rqrec.models.trie.lookup import take, take_rows
from rqrec.models.trie.trie import SemanticIdTrie


class TrieTensors(NamedTuple):
    """The arrays of `models.trie.arrays.TrieArrays` as tensors, with the same names."""

    first_child: tuple[Tensor, ...]
    num_children: tuple[Tensor, ...]
    child_code: tuple[Tensor, ...]
    slot_penalties: tuple[Tensor, ...]

    @classmethod
    def from_trie(cls, trie: SemanticIdTrie) -> Self:
        """Makes the tensors of a trie, on the CPU."""
        return cls(*(tuple(torch.from_numpy(array) for array in arrays) for arrays in TrieArrays.from_trie(trie)))

    def to(self, device: torch.device) -> "TrieTensors":
        """Copies the tensors to a device."""
        return TrieTensors(*(tuple(array.to(device) for array in arrays) for arrays in self))


class TriePaths(NamedTuple):
    """The path from the root to every leaf.

    Attributes:
        codes_NL: Semantic IDs by leaf, int64.
        paths_NL: Each leaf's node at depths 0..L-1, int64: the transpose of `SemanticIdTrie.paths_LN`.
        trie: The trie.
    """

    codes_NL: Tensor
    paths_NL: Tensor
    trie: TrieTensors

    @classmethod
    def from_trie(cls, trie: SemanticIdTrie) -> Self:
        """Makes the paths of a trie, on the CPU."""
        paths_NL = torch.from_numpy(trie.paths_LN.T.astype(np.int64))
        return cls(torch.from_numpy(trie.codes_NL), paths_NL, TrieTensors.from_trie(trie))

    def to(self, device: torch.device) -> "TriePaths":
        """Copies the tensors to a device."""
        return TriePaths(self.codes_NL.to(device), self.paths_NL.to(device), self.trie.to(device))


def child_nodes(trie: TrieTensors, depth: int, nodes: Tensor) -> Tensor:
    """The children of nodes.

    Args:
        trie: The catalogue's trie.
        depth: Depth of the nodes, 0..L-1.
        nodes: Node numbers at that depth, int32, shape (…).

    Returns:
        Node numbers at the next depth, int32, shape (…, F); arbitrary in the slots after a node's last child.
    """
    slots_F = torch.arange(trie.slot_penalties[depth].shape[1], dtype=torch.int32, device=nodes.device)
    return take(trie.first_child[depth], nodes).unsqueeze(-1) + slots_F


def child_log_probs(trie: TrieTensors, depth: int, nodes: Tensor, logits: Tensor) -> tuple[Tensor, Tensor]:
    """Normalises code logits over each node's children, so that probabilities sum to one over the catalogue.

    Args:
        trie: The catalogue's trie.
        depth: Depth of the nodes, 0..L-1.
        nodes: Node numbers at that depth, int32, shape (…).
        logits: Logits of the next code, shape (…, V).

    Returns:
        The children's node numbers at the next depth, int32, and their natural log-probabilities, float32, both of
        shape (…, F). A slot after a node's last child has log-probability -inf and an arbitrary node number.

    Example:
        Three items. Node 0 of depth 1 has two children; node 1 has one, so its second slot is empty.

        >>> trie = SemanticIdTrie.build(np.array([[0, 1], [0, 3], [1, 0]]), codebook_size=4)
        >>> nodes, logits = torch.tensor([0, 1], dtype=torch.int32), torch.zeros(2, 4)
        >>> children, log_probs = child_log_probs(TrieTensors.from_trie(trie), 1, nodes, logits)
        >>> children.tolist(), log_probs.exp().tolist()
        ([[0, 1], [2, 3]], [[0.5, 0.5], [1.0, 0.0]])
    """
    children = child_nodes(trie, depth, nodes)
    codes = take(trie.child_code[depth], children)
    penalties = take_rows(trie.slot_penalties[depth], take(trie.num_children[depth], nodes))
    child_logits = logits.float().gather(-1, codes) + penalties
    return children, torch.log_softmax(child_logits, dim=-1)
