"""Exclusions: finds the nodes of the trie that are closed because a request excludes all eligible leaves below them.

The closed nodes are computed in the ONNX graph of the search. NumPy code outside the graph would be as fast on an idle
machine but ten times slower under load, because each NumPy operation waits for the GIL.

Shapes: B users, X exclusions of each user, M = B X exclusions, L levels, I inner depths (1 to L-1), K beams, R = B K
beams of all users, F children of a node, N leaves.
"""

from typing import NamedTuple, Self

import torch
from torch import Tensor

from rqrec.models.search.eligibility import Eligibility
from rqrec.models.trie.lookup import take, take_rows

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

    Each of M exclusions is a pair of a user and an excluded leaf. In the fields with L rows, entry (d, m) is about one
    node: the node of depth d + 1 on the path to the leaf of exclusion m.

    Attributes:
        user_M: The number of the user of each exclusion, int32.
        node_LM: The number of the node, int32.
        parent_LM: The number of the node's parent, which has the depth d, int32.
        closed_parent_LM: The same as `parent_LM` if the node is closed for the user, else -1; int32. Of several
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
        >>> closed.node_LM.tolist()
        [[0, 0], [0, 1]]
        >>> closed.closed_parent_LM.tolist()
        [[0, -1], [0, 0]]
        >>> log_probs, root, first_child = torch.tensor([[-1.0, -2.0]]), torch.tensor([[0]]), torch.tensor([0])
        >>> closed.bar(log_probs, root, 0, first_child).tolist()
        [[-inf, -2.0]]
    """

    user_M: Tensor
    node_LM: Tensor
    parent_LM: Tensor
    closed_parent_LM: Tensor

    @classmethod
    def from_exclusions(cls, excluded_BX: Tensor, eligible: EligibleTensors, paths_LN: Tensor) -> Self:
        """Finds the nodes that are closed for each user. At depth L these are the excluded leaves themselves.

        Args:
            excluded_BX: For each user, the excluded leaves: distinct leaves that pass the filter, in ascending order,
                padded at the end with -1; integer.
            eligible: The leaves that pass the filter, the same for all users.
            paths_LN: The nodes on the path to each leaf, from `models.trie.trie.SemanticIdTrie.paths_LN`.
        """
        users_B1 = torch.arange(excluded_BX.shape[0], dtype=torch.int32, device=excluded_BX.device).unsqueeze(1)
        user_M, leaf_M = users_B1.expand(excluded_BX.shape).flatten(), excluded_BX.flatten().int()
        is_leaf_M = leaf_M > NONE
        leaf_M = leaf_M.clamp_min(0)
        parent_LM = paths_LN.index_select(1, leaf_M)
        inner_IM = parent_LM[1:]
        # Exclusions below one node are neighbours, because leaves are sorted. Let a node have c eligible leaves. The
        # node is closed if the exclusion c - 1 entries after its first exclusion is below it too.
        before_M = torch.arange(-1, leaf_M.shape[0] - 1, dtype=torch.int32, device=leaf_M.device)
        last_IM = before_M + take(eligible.eligible_below, inner_IM + eligible.first_inner_I.unsqueeze(1))
        there_IM = last_IM.clamp(0, leaf_M.shape[0] - 1)  # padding may give a negative number
        is_closed_IM = (last_IM == there_IM) & (take(user_M, there_IM) == user_M) & is_leaf_M
        is_closed_IM &= torch.where(is_leaf_M, inner_IM, NONE).gather(1, there_IM) == inner_IM
        is_closed_LM = torch.cat([is_closed_IM, is_leaf_M.unsqueeze(0)])
        node_LM = torch.cat([inner_IM, leaf_M.unsqueeze(0)])
        return cls(user_M, node_LM, parent_LM, torch.where(is_closed_LM, parent_LM, NONE))

    def bar(self, candidates_RF: Tensor, nodes_BK: Tensor, depth: int, first_child: Tensor) -> Tensor:
        """Sets the scores of children that are closed nodes to -inf, so that no beam continues with a closed node.

        Args:
            candidates_RF: The scores of the F children of each beam's node, float32, for R = B K beams.
            nodes_BK: The number of the node of each of a user's K beams, integer. The children are those of this node.
            depth: The depth of the nodes in `nodes_BK`, 0..L-1.
            first_child: The first child of each node of this depth, as in `models.trie.arrays.TrieArrays`.

        Returns:
            The scores of each user's K * F candidates, shape (B, K F).
        """
        (batch, beams), children = nodes_BK.shape, candidates_RF.shape[1]
        is_parent_MK = take_rows(nodes_BK, self.user_M) == self.closed_parent_LM[depth].unsqueeze(1)
        beams_K = torch.arange(beams, dtype=torch.int32, device=nodes_BK.device) * children
        # Only the first match counts: pruned beams (score -inf) come last, and their nodes are arbitrary.
        offset_M = torch.where(is_parent_MK, beams_K, NO_OFFSET).amin(1)
        is_found_M = offset_M < NO_OFFSET
        barred_M = torch.where(is_found_M, -torch.inf, 0.0)
        slot_M = self.node_LM[depth] - take(first_child, self.parent_LM[depth])
        index_M = self.user_M * (beams * children) + slot_M + torch.where(is_found_M, offset_M, 0)
        return candidates_RF.flatten().scatter_add(0, index_M.long(), barred_M).view(batch, -1)
