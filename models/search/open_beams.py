"""Open beams: the beams that the decoder still has to read, because more than one leaf is below them.

A beam with one leaf below it has one child at each later level, and its probability is 1. So the decoder skips the
beam. In MovieLens-100K, half of the items stand alone below their first two codes, and three of four below three.

Shapes: R beams of all users, M of them open, F children of the widest node at a depth.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from rqrec.models.trie.lookup import take, take_rows
from rqrec.models.trie.tensors import TrieTensors


class OpenBeams(NamedTuple):
    """The open beams of one depth.

    Attributes:
        beams_M: Their numbers, in ascending order, int64.
        slots_R: For each beam, 1 + its position in `beams_M`, or 0 if it is not open; int32.
    """

    beams_M: Tensor
    slots_R: Tensor

    @classmethod
    def at(cls, depth: int, nodes_R: Tensor, scores_R: Tensor, trie: TrieTensors) -> "OpenBeams":
        """Finds the open beams. A pruned beam is never open.

        Args:
            depth: Depth of the nodes, 1..L-1.
            nodes_R: The beams' nodes, int32.
            scores_R: The beams' log-probabilities; -inf for a pruned beam.
            trie: The catalogue's trie.
        """
        is_open_R = (scores_R > -torch.inf) & ~has_one_leaf(trie, depth, nodes_R)
        is_open = is_open_R.int()
        return cls(is_open_R.nonzero().squeeze(1), is_open.cumsum(0, dtype=torch.int32) * is_open)

    def spread(self, rows_MF: Tensor, other_F: Tensor) -> Tensor:
        """Gives every beam a row.

        Args:
            rows_MF: The rows of the open beams.
            other_F: The row of every other beam.

        Returns:
            Rows of shape (R, F).
        """
        return take_rows(torch.cat([other_F.unsqueeze(0), rows_MF]), self.slots_R)


def has_one_leaf(trie: TrieTensors, depth: int, nodes: Tensor) -> Tensor:
    """Whether one leaf is below each node.

    Args:
        trie: The catalogue's trie.
        depth: Depth of the nodes, 0..L-1.
        nodes: Node numbers at that depth, int32.

    Example:
        Three items. Two leaves are below node 0 of depth 1, and one leaf is below node 1.

        >>> trie = SemanticIdTrie.build(np.array([[0, 1], [0, 3], [1, 0]]), codebook_size=4)
        >>> has_one_leaf(TrieTensors.from_trie(trie), 1, torch.tensor([0, 1], dtype=torch.int32)).tolist()
        [False, True]
    """
    is_only = take(trie.num_children[depth], nodes) == 1
    for below in range(depth + 1, len(trie.num_children)):
        nodes = take(trie.first_child[below - 1], nodes)
        is_only = is_only & (take(trie.num_children[below], nodes) == 1)
    return is_only
