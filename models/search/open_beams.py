"""Open beams: the beams for which the code decoder must still run, because more than one leaf is below their node.

If a single leaf is below the node of a beam, the later codes are certain: each has the probability 1. So the decoder
skips the beam. In MovieLens-100K, half of the items have a prefix of two codes that no other item has; three of four
have such a prefix of three codes.

Shapes: R beams of all users, M of them open, F children of the widest node at a depth.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from rqrec.models.trie.lookup import take, take_rows
from rqrec.models.trie.tensors import TrieTensors


class OpenBeams(NamedTuple):
    """The open beams at one depth of the search: those that are not pruned and have several leaves below their node.

    Attributes:
        beams_M: The numbers of the M open beams, ascending, int64.
        slots_R: For each of R beams, 1 + its index in `beams_M`, or 0 if the beam is not open; int32.
    """

    beams_M: Tensor
    slots_R: Tensor

    @classmethod
    def at(cls, depth: int, nodes_R: Tensor, scores_R: Tensor, trie: TrieTensors) -> "OpenBeams":
        """Finds the open beams: those with more than one leaf below their node. A pruned beam is never open.

        Args:
            depth: Depth of the nodes, 1..L-1.
            nodes_R: The number of each beam's node, int32.
            scores_R: The log-probability of each beam; -inf for a pruned beam.
            trie: The catalogue's trie.
        """
        is_open_R = (scores_R > -torch.inf) & ~has_one_leaf(trie, depth, nodes_R)
        is_open = is_open_R.int()
        return cls(is_open_R.nonzero().squeeze(1), is_open.cumsum(0, dtype=torch.int32) * is_open)

    def spread(self, rows_MF: Tensor, other_F: Tensor) -> Tensor:
        """Makes an array with a row for every beam from the rows of the open beams.

        Args:
            rows_MF: One row for each open beam.
            other_F: The row for each beam that is not open.

        Returns:
            One row for each of R beams, shape (R, F).
        """
        return take_rows(torch.cat([other_F.unsqueeze(0), rows_MF]), self.slots_R)


def has_one_leaf(trie: TrieTensors, depth: int, nodes: Tensor) -> Tensor:
    """Returns whether exactly one leaf is below each node, bool.

    Args:
        trie: The catalogue's trie.
        depth: Depth of the nodes, 0..L-1.
        nodes: Node numbers at that depth, int32.

    Example:
        Three items. Two leaves are below node 0 of depth 1, and one leaf is below node 1.

        >>> import numpy as np
        >>> from rqrec.models.trie.trie import SemanticIdTrie
        >>> trie = SemanticIdTrie.build(np.array([[0, 1], [0, 3], [1, 0]]), codebook_size=4)
        >>> has_one_leaf(TrieTensors.from_trie(trie), 1, torch.tensor([0, 1], dtype=torch.int32)).tolist()
        [False, True]
    """
    is_only = take(trie.num_children[depth], nodes) == 1
    for below in range(depth + 1, len(trie.num_children)):
        nodes = take(trie.first_child[below - 1], nodes)
        is_only = is_only & (take(trie.num_children[below], nodes) == 1)
    return is_only
