"""Beam search over the catalogue's trie, as one module without control flow on data: it exports to ONNX whole.

Shapes: B users, T history items, X exclusions, L levels, V codes per level, K beams, F children of a node, N leaves,
D width.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from rqrec.models.retriever.retriever import Retriever
from rqrec.models.search.exclusion import ClosedNodes, EligibleTensors
from rqrec.models.trie.lookup import take, take_rows
from rqrec.models.trie.tensors import TrieTensors, child_log_probs


class BeamSearchOutput(NamedTuple):
    """What the search found for each user, best first.

    Attributes:
        leaves_BK: Leaf positions, int32, -1 past the last eligible item.
        log_probs_BK: Their natural log-probabilities, float32, -inf past the last.
        scores_BK: What they are ranked by (`Retriever.rerank`), float32, -inf past the last.
        queries_BD: Times an item's vector at unit length, its weighted rating; float32.
    """

    leaves_BK: Tensor
    log_probs_BK: Tensor
    scores_BK: Tensor
    queries_BD: Tensor


class BeamSearch(nn.Module):
    """Finds a user's most probable items, level by level, among those that are eligible, and ranks what it found.

    A beam survives only while a leaf below it is eligible, so k items come back whenever k are eligible and the beam is
    at least k wide. Probabilities are those over the whole catalogue: what is filtered out is not renormalised away.
    With a beam as wide as a level the search is exact.

    Ties: of two equal scores the item of the greater log-probability comes first; of two equal log-probabilities the
    one whose prefix is the more probable, looking at the longest prefix first; with all prefixes equal, the smaller
    semantic ID.
    """

    def __init__(self, retriever: Retriever) -> None:
        super().__init__()
        self.retriever = retriever

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
    ) -> BeamSearchOutput:
        """Searches for a batch.

        Args:
            history_BT: Leaf positions, oldest first, padded at the end with any valid leaf; int64.
            lengths_B: Items in each history, 1..T.
            beam_slots_K: 0..K-1, float32; its length is the beam width.
            eligible: The leaves that may be returned.
            excluded_BX: Those of them that a user must not get, as `models.search.recommender.SearchEngine` takes them.
            item_vectors_ND: `Retriever.item_vectors`, computed once a catalogue.
            paths_LN: `models.trie.trie.SemanticIdTrie.paths_LN`.
            trie: The catalogue's trie.
        """
        batch, length = history_BT.shape
        items_RD = take_rows(item_vectors_ND, history_BT.flatten())
        states_BD = self.retriever.history.last(items_RD, lengths_B, length)
        decoding = self.retriever.decoder.begin(states_BD)
        users_B1 = torch.arange(batch, dtype=torch.int32, device=history_BT.device).unsqueeze(1)
        beams = beam_slots_K.shape[0]
        scores_R = torch.zeros_like(lengths_B, dtype=torch.float32)
        nodes_R = torch.zeros_like(lengths_B, dtype=torch.int32)
        num_levels = len(trie.first_child)
        closed = ClosedNodes.from_exclusions(excluded_BX, eligible, paths_LN)
        for depth in range(num_levels):
            children_RF, log_probs_RF = child_log_probs(trie, depth, nodes_R, decoding.logits_RV)
            candidates_RF = scores_R.unsqueeze(1) + log_probs_RF + take(eligible.penalties[depth], children_RF)
            candidates_BX = closed.bar(candidates_RF, nodes_R.view(batch, -1), depth, trie.first_child[depth])
            width = candidates_BX.shape[1]
            if depth == 0:  # later levels have K times F candidates, never less than K
                filler_BK = torch.full_like(beam_slots_K, -torch.inf).expand(batch, -1)
                candidates_BX = torch.cat([candidates_BX, filler_BK], dim=1)
            scores_BK, index_BK = top_k(candidates_BX, beams)
            if depth == 0:  # a filled-up beam has score -inf and stands for any node at all
                index_BK = index_BK.clamp_max(width - 1)
            index_R = (index_BK.int() + users_B1 * width).flatten()
            scores_R, nodes_R = scores_BK.flatten(), children_RF.flatten().gather(0, index_R)
            if depth + 1 < num_levels:
                parents_R = index_R // children_RF.shape[1]
                codes_R = take(trie.child_code[depth], nodes_R)
                decoding = self.retriever.decoder.step(decoding, parents_R, codes_R, depth + 1)
        log_probs_BK = scores_R.view(batch, beams)
        # A beam without hope may stand past the last leaf.
        vectors_RD = take_rows(item_vectors_ND, nodes_R.clamp_max(len(item_vectors_ND) - 1))
        queries_BD = self.retriever.weighted_queries(states_BD)
        final_BK, order_BK = top_k(self.retriever.rerank(queries_BD, vectors_RD, log_probs_BK), beams)
        leaves_BK = torch.where(final_BK > -torch.inf, nodes_R.view(batch, beams).gather(1, order_BK), -1)
        return BeamSearchOutput(leaves_BK, log_probs_BK.gather(1, order_BK), final_BK, queries_BD.float())


def top_k(scores_BX: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k largest scores, float32, and their positions; of equal scores the one at the smaller position first.

    ONNX's TopK promises that order of ties; torch's does not, so there it is asked for keys that are never equal.
    """
    if torch.compiler.is_exporting():
        return scores_BX.topk(k, dim=1)
    bits = (scores_BX + 0.0).view(torch.int32)  # adding 0 turns -0 into 0
    ordered = torch.where(bits < 0, bits ^ 0x7FFFFFFF, bits).to(torch.int64)
    positions_X = torch.arange(scores_BX.shape[1], device=scores_BX.device)
    index_BK = ((ordered << 32) - positions_X).topk(k, dim=1).indices
    return scores_BX.gather(1, index_BK), index_BK
