"""Exclusions: finds the nodes of the trie that are closed because a request excludes all eligible leaves below them.

The closed nodes are computed in the ONNX graph of the search. NumPy code outside the graph would be as fast on an idle
machine but ten times slower under load, because each NumPy operation waits for the GIL.

Shapes: B users, X exclusions of each user, L levels, I inner depths (1 to L-1), K beams of each user, F children of a
node, N leaves.
"""

from typing import NamedTuple, Self

import torch
from torch import Tensor

from rqrec.models.search.eligibility import Eligibility
from rqrec.models.trie.lookup import take

NONE = -1  # no node
NO_OFFSET = 2**31 - 1  # larger than every offset


class EligibleTensors(NamedTuple):
    """The leaves that pass a filter, as PyTorch tensors that the search reads.

    The fields are described in `models.search.eligibility.Eligibility`.
    """

    penalties: tuple[Tensor, ...]
    eligible_below: Tensor
    first_inner_I: Tensor

    @classmethod
    def from_eligibility(cls, eligibility: Eligibility, device: torch.device) -> Self:
        """Makes the tensors from the arrays of an eligibility, on a device.

        Args:
            eligibility: The leaves that pass the filter.
            device: The device of the tensors.
        """
        below, first_I = (torch.from_numpy(one) for one in (eligibility.eligible_below, eligibility.first_inner_I))
        penalties = tuple(torch.from_numpy(one).to(device) for one in eligibility.penalties)
        return cls(penalties, below.to(device), first_I.to(device))


class ClosedNodes(NamedTuple):
    """The nodes of the trie that are closed for a user, because all eligible leaves below the node are excluded.

    Entry (d, b, x) is about one node: the node of depth d + 1 on the path to the leaf that is exclusion x of user b.

    Attributes:
        node_LBX: The number of the node, int32.
        parent_LBX: The number of the node's parent, which has the depth d, int32.
        closed_parent_LBX: The same as `parent_LBX` if the node is closed for the user, else -1; int32. Of several
            exclusions of a user below one closed node, only the first has the parent and the others have -1, because
            `bar` needs each closed node only once.

    Example:
        Three items. One user excludes the leaves 0 (0-1) and 1 (0-3), so node 0 of depth 1 is closed too. The search
        must not choose it as a child of the root.

        >>> import numpy as np
        >>> from rqrec.models.trie.trie import SemanticIdTrie
        >>> trie = SemanticIdTrie.build(np.array([[0, 1], [0, 3], [1, 0]]), codebook_size=4)
        >>> eligible = EligibleTensors.from_eligibility(Eligibility.everything(trie), torch.device("cpu"))
        >>> closed = ClosedNodes.from_exclusions(torch.tensor([[0, 1]]), eligible, torch.from_numpy(trie.paths_LN))
        >>> closed.node_LBX.tolist()
        [[[0, 0]], [[0, 1]]]
        >>> closed.closed_parent_LBX.tolist()
        [[[0, -1]], [[0, 0]]]
        >>> log_probs, root, first_child = torch.tensor([[-1.0, -2.0]]), torch.tensor([[0]]), torch.tensor([0])
        >>> closed.bar(log_probs, root, 0, first_child).tolist()
        [[-inf, -2.0]]
    """

    node_LBX: Tensor
    parent_LBX: Tensor
    closed_parent_LBX: Tensor

    @classmethod
    def from_exclusions(cls, excluded_BX: Tensor, eligible: EligibleTensors, paths_LN: Tensor) -> Self:
        """Finds the nodes that are closed for each user. At depth L these are the excluded leaves themselves.

        Args:
            excluded_BX: For each user, the excluded leaves: distinct leaves that pass the filter, in ascending order,
                padded at the end with -1; integer.
            eligible: The leaves that pass the filter, the same for all users.
            paths_LN: The nodes on the path to each leaf, from `models.trie.trie.SemanticIdTrie.paths_LN`.
        """
        users, exclusions = excluded_BX.shape
        leaf_BX = excluded_BX.int()
        is_leaf_BX = leaf_BX > NONE
        leaf_BX = leaf_BX.clamp_min(0)
        parent_LBX = paths_LN.index_select(1, leaf_BX.flatten()).view(-1, users, exclusions)
        inner_IBX = parent_LBX[1:]
        # Exclusions below one node are neighbours, because leaves are sorted. Let a node have c eligible leaves. The
        # node is closed if the exclusion c - 1 entries after its first exclusion is below it too.
        before_X = torch.arange(-1, exclusions - 1, dtype=torch.int32, device=leaf_BX.device)
        last_IBX = before_X + take(eligible.eligible_below, inner_IBX + eligible.first_inner_I[:, None, None])
        there_IBX = last_IBX.clamp(0, exclusions - 1)  # padding may give a negative number
        below_IBX = torch.where(is_leaf_BX, inner_IBX, NONE).gather(2, there_IBX)
        is_closed_IBX = (last_IBX == there_IBX) & (below_IBX == inner_IBX) & is_leaf_BX
        is_closed_LBX = torch.cat([is_closed_IBX, is_leaf_BX.unsqueeze(0)])
        node_LBX = torch.cat([inner_IBX, leaf_BX.unsqueeze(0)])
        return cls(node_LBX, parent_LBX, torch.where(is_closed_LBX, parent_LBX, NONE))

    def bar(self, candidates_BY: Tensor, nodes_BK: Tensor, depth: int, first_child: Tensor) -> Tensor:
        """Sets the scores of children that are closed nodes to -inf, so that no beam continues with a closed node.

        Args:
            candidates_BY: For each user, the scores of the children of each beam's node, one beam after the other,
                float32; Y = K F.
            nodes_BK: The number of the node of each of a user's K beams, integer. The children are those of this node.
            depth: The depth of the nodes in `nodes_BK`, 0..L-1.
            first_child: The first child of each node of this depth, as in `models.trie.arrays.TrieArrays`.
        """
        beams = nodes_BK.shape[1]
        is_parent_BXK = nodes_BK.unsqueeze(1) == self.closed_parent_LBX[depth].unsqueeze(2)
        beams_K = torch.arange(beams, dtype=torch.int32, device=nodes_BK.device) * (candidates_BY.shape[1] // beams)
        # Only the first match counts: pruned beams (score -inf) come last, and their nodes are arbitrary.
        offset_BX = torch.where(is_parent_BXK, beams_K, NO_OFFSET).amin(2)
        is_found_BX = offset_BX < NO_OFFSET
        barred_BX = torch.where(is_found_BX, -torch.inf, 0.0)
        slot_BX = self.node_LBX[depth] - first_child[self.parent_LBX[depth]]
        index_BX = slot_BX + torch.where(is_found_BX, offset_BX, 0)
        return candidates_BY.scatter_add(1, index_BX.long(), barred_BX)
