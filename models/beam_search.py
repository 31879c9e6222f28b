"""Beam search over the catalogue's trie, as one module without control flow on data: it exports to ONNX whole.

Shapes: B users, T history items, X excluded leaves, L levels, V codes per level, K beams, F children of a node,
N leaves, D width.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from models.retriever import Retriever
from models.trie_tensors import TrieTensors, child_log_probs


class BeamSearchOutput(NamedTuple):
    """What the search found for each user, best first.

    Attributes:
        leaves_BK: Leaf positions, int64, -1 past the last eligible item.
        log_probs_BK: Their natural log-probabilities, float32, -inf past the last.
    """

    leaves_BK: Tensor
    log_probs_BK: Tensor


class BeamSearch(nn.Module):
    """Finds a user's most probable items, level by level, among those that are eligible.

    A beam survives only while its range of leaves holds an eligible item that the user did not exclude, so k items
    come back whenever k are eligible and the beam is at least k wide. Probabilities are those over the whole
    catalogue: what is filtered out is not renormalised away. With a beam as wide as a level the search is exact.
    """

    def __init__(self, retriever: Retriever) -> None:
        super().__init__()
        self.retriever = retriever

    def forward(
        self,
        history_BT: Tensor,
        lengths_B: Tensor,
        excluded_BX: Tensor,
        eligible_before: Tensor,
        beam_slots_K: Tensor,
        item_vectors_ND: Tensor,
        trie: TrieTensors,
    ) -> BeamSearchOutput:
        """Searches for a batch.

        Args:
            history_BT: Leaf positions, oldest first, padded at the end with any valid leaf; int64.
            lengths_B: Items in each history, 1..T.
            excluded_BX: Distinct eligible leaves that each user must not get, padded with N.
            eligible_before: How many of the leaves before each position are eligible, int64, shape (N + 1,).
            beam_slots_K: 0..K-1; its length is the beam width.
            item_vectors_ND: `Retriever.items` of every leaf's codes, computed once a catalogue.
            trie: The catalogue's trie.
        """
        states_BTD = self.retriever.history(item_vectors_ND[history_BT])
        last_B = (lengths_B - 1).view(-1, 1, 1).expand(-1, 1, states_BTD.shape[2])
        x_BKD = states_BTD.gather(1, last_B)
        decoder = self.retriever.decoder
        caches = decoder.empty_cache(x_BKD)
        scores_BK = torch.zeros_like(x_BKD[..., 0], dtype=torch.float32)
        nodes_BK = torch.zeros_like(scores_BK, dtype=torch.int64)
        num_levels = len(trie.child_start)
        for depth in range(num_levels):
            logits_BKV, caches = decoder.step(x_BKD, caches, depth)
            children_BKF, log_probs_BKF = child_log_probs(trie, depth, nodes_BK, logits_BKV)
            low, high = _leaf_ranges(trie, depth + 1, children_BKF)
            left_BKF = eligible_before[high] - eligible_before[low] - _count_within(excluded_BX, low, high)
            candidates_BKF = (scores_BK.unsqueeze(-1) + log_probs_BKF).masked_fill(left_BKF <= 0, -torch.inf)
            scores_BK, parents_BK, nodes_BK = _best(candidates_BKF, children_BKF, beam_slots_K)
            if depth + 1 < num_levels:
                x_BKD = decoder.embed(trie.child_code[depth][nodes_BK], depth)
                caches = [_take_beams(cache, parents_BK) for cache in caches]
        found_BK = scores_BK > -torch.inf
        return BeamSearchOutput(torch.where(found_BK, nodes_BK, -1), scores_BK)


def _leaf_ranges(trie: TrieTensors, depth: int, nodes: Tensor) -> tuple[Tensor, Tensor]:
    if depth == len(trie.child_start):  # a leaf
        return nodes, nodes + 1
    leaf_start = trie.leaf_start[depth - 1]
    return leaf_start[nodes], leaf_start[nodes + 1]


def _count_within(excluded_BX: Tensor, low_BKF: Tensor, high_BKF: Tensor) -> Tensor:
    excluded_B11X = excluded_BX[:, None, None, :]
    inside = (excluded_B11X >= low_BKF.unsqueeze(-1)) & (excluded_B11X < high_BKF.unsqueeze(-1))
    return inside.sum(-1)


def _best(candidates_BKF: Tensor, children_BKF: Tensor, beam_slots_K: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    width = candidates_BKF.shape[2]
    flat = candidates_BKF.flatten(1)
    # Fewer candidates than beams are filled up with -inf, so that top-k always finds K.
    filler = torch.full_like(beam_slots_K, -torch.inf, dtype=flat.dtype).expand(flat.shape[0], -1)
    scores_BK, index_BK = torch.cat([flat, filler], dim=1).topk(beam_slots_K.shape[0], dim=1)
    index_BK = index_BK.clamp_max(flat.shape[1] - 1)
    return scores_BK, index_BK // width, children_BKF.flatten(1).gather(1, index_BK)


def _take_beams(cache_BKSD2: Tensor, parents_BK: Tensor) -> Tensor:
    index = parents_BK[:, :, None, None].expand(-1, -1, *cache_BKSD2.shape[2:])
    return cache_BKSD2.gather(1, index)
