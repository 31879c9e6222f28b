"""The trie as PyTorch tensors, and the softmax over the valid children of a node, for training and search.

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
    """The arrays of a trie as PyTorch tensors. The fields are described in `models.trie.arrays.TrieArrays`."""

    first_child: tuple[Tensor, ...]
    num_children: tuple[Tensor, ...]
    child_code: tuple[Tensor, ...]
    slot_penalties: tuple[Tensor, ...]

    @classmethod
    def from_trie(cls, trie: SemanticIdTrie) -> Self:
        """Makes the tensors from a trie, on the CPU."""
        return cls(*(tuple(torch.from_numpy(array) for array in arrays) for arrays in TrieArrays.from_trie(trie)))

    def to(self, device: torch.device) -> "TrieTensors":
        """Copies the tensors to a device."""
        return TrieTensors(*(tuple(array.to(device) for array in arrays) for arrays in self))


class TriePaths(NamedTuple):
    """The semantic ID of every leaf of a trie, and the path from the root to every leaf.

    Attributes:
        codes_NL: The semantic ID of each of N leaves, L codes, int64.
        paths_NL: The node of depth d on the path to leaf n is `paths_NL[n, d]`, for d in 0..L-1; int64.
        trie: The arrays of the trie.
    """

    codes_NL: Tensor
    paths_NL: Tensor
    trie: TrieTensors

    @classmethod
    def from_trie(cls, trie: SemanticIdTrie) -> Self:
        """Copies the semantic IDs of a trie, and the nodes on the way to each leaf, to tensors on the CPU."""
        paths_NL = torch.from_numpy(trie.paths_LN.T.astype(np.int64))
        return cls(torch.from_numpy(trie.codes_NL), paths_NL, TrieTensors.from_trie(trie))

    def to(self, device: torch.device) -> "TriePaths":
        """Copies the tensors to a device."""
        return TriePaths(self.codes_NL.to(device), self.paths_NL.to(device), self.trie.to(device))


def child_nodes(trie: TrieTensors, depth: int, nodes: Tensor) -> Tensor:
    """Returns the children of nodes.

    Args:
        trie: The catalogue's trie.
        depth: Depth of the nodes, 0..L-1.
        nodes: Node numbers at that depth, int32, shape (…).

    Returns:
        Node numbers at the next depth, int32, shape (…, F), where F is the largest number of children at this depth. If
        a node has fewer children, the numbers after its last child are arbitrary.
    """
    slots_F = torch.arange(trie.slot_penalties[depth].shape[1], dtype=torch.int32, device=nodes.device)
    return take(trie.first_child[depth], nodes).unsqueeze(-1) + slots_F


def child_log_probs(trie: TrieTensors, depth: int, nodes: Tensor, logits: Tensor) -> tuple[Tensor, Tensor]:
    """Computes the log-probabilities of the children of nodes: a softmax of code logits over the children that exist.

    So the probabilities of all items of the catalogue sum to one.

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
