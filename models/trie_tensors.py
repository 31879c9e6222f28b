"""The trie as tensors, and the softmax over a node's valid children that training and search share.

Shapes: N leaves, L levels, V codes per level, F children of the widest node at a depth, … any leading axes.
"""

from typing import NamedTuple, Self

import torch
from torch import Tensor

from models.trie import SemanticIdTrie


class TrieTensors(NamedTuple):
    """The arrays of a `SemanticIdTrie` that the retriever reads, one entry a depth.

    Attributes:
        child_start: For depth 0..L-1, each node's first child, int64, shape (nodes + 1,).
        child_code: For depth 0..L-1, the code that leads to each node of the next depth, int64.
        leaf_start: For depth 1..L-1, each node's first leaf, int64, shape (nodes + 1,).
        slots: For depth 0..L-1, 0..F-1. Their length tells an exported graph how wide the widest node is.
    """

    child_start: tuple[Tensor, ...]
    child_code: tuple[Tensor, ...]
    leaf_start: tuple[Tensor, ...]
    slots: tuple[Tensor, ...]

    @classmethod
    def of(cls, trie: SemanticIdTrie) -> Self:
        """Wraps the trie's arrays; nothing is copied."""
        return cls(
            tuple(torch.from_numpy(start) for start in trie.child_start),
            tuple(torch.from_numpy(code) for code in trie.child_code),
            tuple(torch.from_numpy(start) for start in trie.leaf_start[1:-1]),
            tuple(torch.arange(width) for width in trie.max_children),
        )

    def to(self, device: torch.device) -> "TrieTensors":
        """Copies the arrays to a device."""
        return TrieTensors(*(tuple(array.to(device) for array in arrays) for arrays in self))


def child_log_probs(trie: TrieTensors, depth: int, nodes: Tensor, logits: Tensor) -> tuple[Tensor, Tensor]:
    """Normalises code logits over each node's children, so that probabilities sum to one over the catalogue.

    Args:
        trie: The catalogue's trie.
        depth: Depth of the nodes, 0..L-1.
        nodes: Node numbers at that depth, int64, shape (…).
        logits: Logits of the next code, shape (…, V).

    Returns:
        The children's node numbers at the next depth, int64, and their natural log-probabilities, float32, both of
        shape (…, F). Slots past a node's last child hold some valid node number and -inf.
    """
    first = trie.child_start[depth][nodes].unsqueeze(-1)
    end = trie.child_start[depth][nodes + 1].unsqueeze(-1)
    slots = first + trie.slots[depth]
    is_child = slots < end
    children = torch.where(is_child, slots, first)
    child_logits = logits.float().gather(-1, trie.child_code[depth][children])
    return children, torch.log_softmax(child_logits.masked_fill(~is_child, -torch.inf), dim=-1)
