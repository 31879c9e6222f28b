import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from rqrec.models.array_types import IntArray
from rqrec.models.search.eligibility import Eligibility
from rqrec.models.search.exclusion import ClosedNodes, EligibleTensors
from rqrec.models.search.padding import pad
from rqrec.models.trie.trie import SemanticIdTrie
from tests.models.conftest import CPU, random_codes


def closed_nodes(eligibility: Eligibility, excluded: list[IntArray]) -> ClosedNodes:
    excluded_BX = torch.from_numpy(pad(excluded, filler=-1))
    paths_LN = torch.from_numpy(eligibility.trie.paths_LN)
    return ClosedNodes.from_exclusions(excluded_BX, EligibleTensors.from_eligibility(eligibility, CPU), paths_LN)


def test_hand_made_exclusions() -> None:
    trie = SemanticIdTrie.build(np.array([[0, 0, 1], [0, 0, 2], [0, 3, 0], [2, 1, 1]]), codebook_size=4)
    # Node 0 of depth 2 has only the leaves 0 and 1. Node 0 of depth 1 also has leaf 2, so it stays open.
    closed = closed_nodes(Eligibility.everything(trie), [np.array([0, 1]), np.array([3])])
    assert closed.node_LBX[:, 0].tolist() == [[0, 0], [0, 0], [0, 1]]
    assert closed.node_LBX[:, 1, 0].tolist() == [1, 2, 3]
    assert closed.closed_parent_LBX.tolist() == [[[-1, -1], [0, -1]], [[0, -1], [1, -1]], [[0, 0], [2, -1]]]


def test_padding_closes_nothing() -> None:
    # If the padding were read as leaf 0, node 0 would seem to lose both of its leaves.
    trie = SemanticIdTrie.build(np.array([[0, 0], [0, 1], [1, 0]]), codebook_size=4)
    closed = closed_nodes(Eligibility.everything(trie), [np.array([0]), np.array([0, 1])])
    assert closed.closed_parent_LBX.tolist() == [[[-1, -1], [0, -1]], [[0, -1], [0, 0]]]


@given(
    seed=st.integers(0, 10**6),
    levels=st.integers(1, 4),
    eligible_share=st.floats(0, 1),
    excluded_shares=st.lists(st.floats(0, 1), min_size=1, max_size=4),
)
def test_closed_nodes_are_those_without_an_eligible_leaf(
    seed: int, levels: int, eligible_share: float, excluded_shares: list[float]
) -> None:
    rng = np.random.default_rng(seed)
    codebook_size = 40 if levels == 1 else 6
    codes_NL = random_codes(rng, items=min(40, codebook_size**levels), levels=levels, codebook_size=codebook_size)
    trie = SemanticIdTrie.build(codes_NL, codebook_size=codebook_size)
    mask_N = rng.random(trie.num_leaves) < eligible_share
    excluded = [np.flatnonzero((rng.random(trie.num_leaves) < share) & mask_N) for share in excluded_shares]
    closed = closed_nodes(Eligibility.from_mask(trie, mask_N), excluded)
    ordered = [tuple(codes) for codes in trie.codes_NL.tolist()]
    for depth in range(1, levels + 1):
        parents = sorted({codes[: depth - 1] for codes in ordered})
        found = {
            (user, (*parents[parent], int(trie.child_code[depth - 1][node])))
            for user in range(len(excluded))
            for parent, node in zip(
                closed.closed_parent_LBX[depth - 1, user].tolist(),
                closed.node_LBX[depth - 1, user].tolist(),
                strict=True,
            )
            if parent >= 0
        }
        expected = set()
        for user, leaves in enumerate(excluded):
            for prefix in {codes[:depth] for codes in ordered}:
                below = {leaf for leaf, codes in enumerate(ordered) if codes[:depth] == prefix and mask_N[leaf]}
                if below and below <= set(leaves.tolist()):
                    expected.add((user, prefix))
        assert found == expected
