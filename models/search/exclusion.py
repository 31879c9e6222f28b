"""The nodes of the trie that a batch's exclusions close, worked out inside the search.

With arrays in Python that took as long while nobody asked, and ten times as long under load, where every operation on
them waits for the interpreter anew.

Shapes: B users, X exclusions of each, M = B X, L levels, I inner depths (1 to L-1), K beams, F children of a node.
"""

from typing import NamedTuple, Self

import torch
from torch import Tensor

from rqrec.models.search.eligibility import Eligibility
from rqrec.models.trie.lookup import take, take_rows

NONE, NOWHERE = -1, 2**31 - 1


class EligibleTensors(NamedTuple):
    """What the search reads of `models.search.eligibility.Eligibility`; see there."""

    penalties: tuple[Tensor, ...]
    eligible_below: Tensor
    first_inner_I: Tensor

    @classmethod
    def from_eligibility(cls, eligibility: Eligibility, device: torch.device) -> Self:
        """Copies the arrays to a device."""
        below, first_I = (torch.from_numpy(one) for one in (eligibility.eligible_below, eligibility.first_inner_I))
        penalties = tuple(torch.from_numpy(one).to(device) for one in eligibility.penalties)
        return cls(penalties, below.to(device), first_I.to(device))


class ClosedNodes(NamedTuple):
    """For each exclusion and depth 1..L, the excluded leaf's node there, and whether it is closed.

    Attributes:
        user_M: Whose exclusion it is, int32.
        node_LM: The node, int32.
        parent_LM: Its parent at the depth above, int32.
        closed_parent_LM: The same where the node is closed for this user, else -1.
    """

    user_M: Tensor
    node_LM: Tensor
    parent_LM: Tensor
    closed_parent_LM: Tensor

    @classmethod
    def from_exclusions(cls, excluded_BX: Tensor, eligible: EligibleTensors, paths_LN: Tensor) -> Self:
        """Finds the nodes that are left without an eligible leaf; at depth L those are the excluded leaves themselves.

        Args:
            excluded_BX: As `models.search.recommender.SearchEngine` takes them.
            eligible: The leaves that may be returned but for that.
            paths_LN: `models.trie.trie.SemanticIdTrie.paths_LN`.
        """
        users_B1 = torch.arange(excluded_BX.shape[0], dtype=torch.int32, device=excluded_BX.device).unsqueeze(1)
        user_M, leaf_M = users_B1.expand(excluded_BX.shape).flatten(), excluded_BX.flatten().int()
        is_leaf_M = leaf_M > NONE
        leaf_M = leaf_M.clamp_min(0)
        parent_LM = paths_LN.index_select(1, leaf_M)
        inner_IM = parent_LM[1:]
        # Leaves below one node stand side by side. So a node with c eligible leaves is closed if the c-th one from the
        # first of them is below it too.
        places_M = torch.arange(-1, len(leaf_M) - 1, dtype=torch.int32, device=leaf_M.device)
        last_IM = places_M + take(eligible.eligible_below, inner_IM + eligible.first_inner_I.unsqueeze(1))
        there_IM = last_IM.clamp(0, len(leaf_M) - 1)  # padding may count from before the first
        is_closed_IM = (last_IM == there_IM) & (take(user_M, there_IM) == user_M) & is_leaf_M
        is_closed_IM &= torch.where(is_leaf_M, inner_IM, NONE).gather(1, there_IM) == inner_IM
        is_closed_LM = torch.cat([is_closed_IM, is_leaf_M.unsqueeze(0)])
        node_LM = torch.cat([inner_IM, leaf_M.unsqueeze(0)])
        return cls(user_M, node_LM, parent_LM, torch.where(is_closed_LM, parent_LM, NONE))

    def bar(self, candidates_RF: Tensor, nodes_BK: Tensor, depth: int, first_child: Tensor) -> Tensor:
        """Bars the closed nodes of the next depth, wherever one is the child of a beam's node.

        Args:
            candidates_RF: The scores of each beam's children, R = B K rows.
            nodes_BK: The beams' nodes.
            depth: Their depth.
            first_child: Each of this depth's nodes' first child.

        Returns:
            The candidates of each user, of shape (B, K F); those that are closed have -inf.
        """
        (batch, beams), children = nodes_BK.shape, candidates_RF.shape[1]
        is_parent_MK = take_rows(nodes_BK, self.user_M) == self.closed_parent_LM[depth].unsqueeze(1)
        beams_K = torch.arange(beams, dtype=torch.int32, device=nodes_BK.device) * children
        # The first match is the one: beams without hope come last, and their nodes mean nothing.
        offset_M = torch.where(is_parent_MK, beams_K, NOWHERE).amin(1)
        is_found_M = offset_M < NOWHERE
        barred_M = torch.where(is_found_M, -torch.inf, 0.0)
        slot_M = self.node_LM[depth] - take(first_child, self.parent_LM[depth])
        index_M = self.user_M * (beams * children) + slot_M + torch.where(is_found_M, offset_M, 0)
        return candidates_RF.flatten().scatter_add(0, index_M.long(), barred_M).view(batch, -1)
