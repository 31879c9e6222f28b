"""Beam search over the catalogue's trie, as one PyTorch module without control flow that depends on data.

So the module can be exported to one ONNX graph. The place of an item is a number: its leaf in the trie, or a number
after all leaves for an item that was added after the trie was built. A history may contain both kinds of items. The
search finds only items that have a leaf.

Shapes: B users, T history items, X exclusions, L levels, V codes per level, K beams, R = B K beams of all users,
M open beams (more than one leaf is below their node), F children of a node, Y = K F candidates of a user, N leaves (in
`item_vectors_ND`: N places), D width.
"""

import torch
from torch import Tensor, nn

from rqrec.models.retriever.retriever import Retriever
from rqrec.models.search.exclusion import ClosedNodes, EligibleTensors
from rqrec.models.search.history.following_items import FollowingTensors, Joining
from rqrec.models.search.open_beams import OpenBeams
from rqrec.models.search.ranked import BeamSearchOutput, Found, top_k
from rqrec.models.trie.lookup import take, take_rows
from rqrec.models.trie.tensors import TrieTensors, child_log_probs, child_nodes


class BeamSearch(nn.Module):
    """Beam search in the trie: finds the most probable eligible items of a user code by code, and ranks them by score.

    An item is eligible if it passes the filter and is not excluded. A beam is pruned as soon as no leaf below its node
    is eligible. So the search returns k items if k are eligible and the beam width is at least k. Log-probabilities
    refer to the whole catalogue: they are not renormalised over the eligible items. The search is exact if the beam
    width is at least the number of nodes at each depth.

    Ties: Of two items with equal scores, the one with the greater log-probability comes first. If these are equal too,
    the log-probabilities of the first L - 1 codes are compared, then those of the first L - 2 codes, and so on. If all
    are equal, the smaller semantic ID comes first.

    Args:
        retriever: The retriever that computes the probabilities.
        fixed_shapes: Whether to run the code decoder for every beam, also for a beam with a single leaf below its node.
            The results are the same. It is faster on a GPU, because no tensor has a shape that depends on the data.
    """

    def __init__(self, retriever: Retriever, *, fixed_shapes: bool = False) -> None:
        super().__init__()
        self.retriever = retriever
        self.fixed_shapes = fixed_shapes

    def forward(
        self,
        history_BT: Tensor,
        lengths_B: Tensor,
        beam_slots_K: Tensor,
        eligible: EligibleTensors,
        excluded_BX: Tensor,
        item_vectors_ND: Tensor,
        paths_LN: Tensor,
        trie: TrieTensors,
        following: FollowingTensors,
        in_session_B: Tensor,
        types_BT: Tensor | None = None,
    ) -> BeamSearchOutput:
        """Finds the K best items that pass a filter, for each of B users.

        Args:
            history_BT: The places of each user's history items, oldest first, padded at the end with any valid place;
                int64. A place is a leaf of the trie, or a number after all leaves for an item that was added later.
            lengths_B: The number of items in each history, 1..T, int64.
            beam_slots_K: The numbers 0..K-1 as float32. Their number K is the beam width. It is given by the shape of a
                tensor, because the ONNX graph has only tensors as inputs.
            eligible: The leaves that pass the filter, the same for all users.
            excluded_BX: For each user, the leaves that must not be returned: distinct leaves that pass the filter, in
                ascending order, padded at the end with -1; int64, X >= 1.
            item_vectors_ND: The item vectors: first those of the leaves, then those of items that were added after the
                trie was built.
            paths_LN: The nodes on the path to each leaf, from `models.trie.trie.SemanticIdTrie.paths_LN`.
            trie: The arrays of the catalogue's trie.
            following: The items that followed each item in the training data. Those that followed the last items of a
                history are found too.
            in_session_B: 1 for a request in the session of the last history item, else 0; int32.
            types_BT: The event type of each history item, 0 for unknown, int64; None if all are unknown.
        """
        batch, length = history_BT.shape
        types_R = None if types_BT is None else types_BT.flatten()
        items_RD = take_rows(item_vectors_ND, history_BT.flatten())
        states_BD, queries_BD = self.retriever.last(items_RD, lengths_B, length, types_R)
        decoding = self.retriever.decoder.begin(states_BD)
        users_B1 = torch.arange(batch, device=history_BT.device).unsqueeze(1)
        scores_R = torch.zeros_like(lengths_B, dtype=torch.float32)
        nodes_R = torch.zeros_like(lengths_B, dtype=torch.int32)
        num_levels = len(trie.first_child)
        closed = ClosedNodes.from_exclusions(excluded_BX, eligible, paths_LN)
        open_beams: OpenBeams | None = None  # None: all
        prefix_nodes, prefix_log_probs = list[Tensor](), list[Tensor]()
        for depth in range(num_levels):
            children_RF, log_probs_RF = _children(trie, depth, nodes_R, decoding.logits_RV, open_beams)
            candidates_RF = scores_R.unsqueeze(1) + log_probs_RF + take(eligible.penalties[depth], children_RF)
            nodes_BK = prefix_nodes[-1] if prefix_nodes else nodes_R.view(batch, 1)
            candidates_BY = closed.bar(candidates_RF.view(batch, -1), nodes_BK, depth, trie.first_child[depth])
            scores_BK, index_BK = _best(candidates_BY, beam_slots_K, depth)
            parents_BK = index_BK // children_RF.shape[1] + users_B1 * nodes_BK.shape[1]
            nodes_BK = children_RF.view(batch, -1).gather(1, index_BK)
            scores_R, nodes_R = scores_BK.flatten(), nodes_BK.flatten()
            prefix_nodes.append(nodes_BK)
            prefix_log_probs.append(scores_BK)
            if depth + 1 < num_levels:
                parents_R, nodes_M = parents_BK.flatten(), nodes_R
                parents_M, earlier = parents_R, open_beams
                if depth >= 1 and not self.fixed_shapes:  # after one code, nearly all beams are open
                    open_beams = OpenBeams.at(depth + 1, nodes_R, scores_R, trie)
                    parents_M, nodes_M = (take(one_R, open_beams.beams_M) for one_R in (parents_R, nodes_R))
                if earlier is not None:
                    parents_M = take(earlier.slots_R, parents_M) - 1  # the parent of an open beam was open
                codes_M = take(trie.child_code[depth], nodes_M)
                decoding = self.retriever.decoder.step(decoding, parents_M, codes_M, depth + 1)
        found = Found.from_beams(prefix_nodes[-1], prefix_log_probs[-1])
        items_BX = following.after(history_BT, lengths_B, in_session_B)
        joining = Joining.from_following(*items_BX, found.leaves_BK, excluded_BX, eligible)
        ranked = self._ranked(found, joining, queries_BD, item_vectors_ND, following.weight)
        return ranked._replace(prefix_nodes=tuple(prefix_nodes), prefix_log_probs=tuple(prefix_log_probs))

    def _ranked(
        self, found: Found, joining: Joining, queries_BD: Tensor, item_vectors_ND: Tensor, weight: Tensor
    ) -> BeamSearchOutput:
        """Ranks the found leaves and the joining items together."""
        leaves_BY = joining.candidates(found)
        vectors_BYD = take_rows(item_vectors_ND, leaves_BY.clamp_min(0))
        weighted_BY = self.retriever.weighted_relevance(queries_BD, vectors_BYD)
        relevance_weight = self.retriever.config.relevance_weight
        return joining.ranked(found, leaves_BY, queries_BD, weighted_BY, weight, relevance_weight=relevance_weight)


def _best(candidates_BY: Tensor, beam_slots_K: Tensor, depth: int) -> tuple[Tensor, Tensor]:
    """The scores and numbers of the K best candidates of each user, best first."""
    width, beams = candidates_BY.shape[1], beam_slots_K.shape[0]
    if depth > 0:  # there are K times F candidates, so at least K
        return top_k(candidates_BY, beams)
    filler_BK = torch.full_like(beam_slots_K, -torch.inf).expand(candidates_BY.shape[0], -1)
    scores_BK, index_BK = top_k(torch.cat([candidates_BY, filler_BK], dim=1), beams)
    return scores_BK, index_BK.clamp_max(width - 1)  # a filler beam has score -inf, so it may point at any node


def _children(
    trie: TrieTensors, depth: int, nodes_R: Tensor, logits_MV: Tensor, open_beams: OpenBeams | None
) -> tuple[Tensor, Tensor]:
    """The children of each beam's node and their log-probabilities, both of shape (R, F)."""
    if open_beams is None:
        return child_log_probs(trie, depth, nodes_R, logits_MV)
    _, log_probs_MF = child_log_probs(trie, depth, take(nodes_R, open_beams.beams_M), logits_MV)
    only_child_F = trie.slot_penalties[depth][1]
    return child_nodes(trie, depth, nodes_R), open_beams.spread(log_probs_MF, only_child_F)
