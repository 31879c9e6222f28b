import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.eligibility import Eligibility
from models.trie import SemanticIdTrie
from tests.models.conftest import random_codes

BEAM_WIDTH = 7


@pytest.fixture
def small() -> SemanticIdTrie:
    return SemanticIdTrie.build(np.array([[0, 0, 1], [0, 0, 2], [0, 3, 0], [2, 1, 1]]), codebook_size=4)


def test_hand_made_mask(small: SemanticIdTrie) -> None:
    eligibility = Eligibility.of(small, np.array([False, True, False, True]))
    assert eligibility.count == 2
    assert eligibility.eligible_before.tolist() == [0, 0, 1, 1, 2]
    nodes = [2, 3, 4]  # what comes after is the margin
    shut = -np.inf
    assert [penalty[:count].tolist() for penalty, count in zip(eligibility.penalties, nodes, strict=True)] == [
        [0, 0],
        [0, shut, 0],
        [shut, 0, shut, 0],
    ]
    assert eligibility.allows(np.array([0, 1, 3])).tolist() == [False, True, True]


def test_hand_made_exclusions(small: SemanticIdTrie) -> None:
    # Leaves 0 and 1 are all there is below node 0 of depth 2; below node 0 of depth 1 leaf 2 is left.
    first, second, third = Eligibility.everything(small).closed_nodes([np.array([0, 1])], beam_width=BEAM_WIDTH)
    assert first.parent_M1.tolist() == [[-1]]
    assert (second.row_M.tolist(), second.parent_M1.tolist(), second.index_M.tolist()) == ([0], [[0]], [0])
    assert (third.row_M.tolist(), third.parent_M1.tolist(), third.index_M.tolist()) == ([0, 0], [[0], [0]], [0, 1])


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
    excluded = [np.flatnonzero(rng.random(trie.num_leaves) < share) for share in excluded_shares]
    eligibility = Eligibility.of(trie, mask_N)
    ordered = [tuple(codes) for codes in trie.codes_NL.tolist()]
    for depth, closed in enumerate(eligibility.closed_nodes(excluded, beam_width=BEAM_WIDTH), start=1):
        width = trie.max_children[depth - 1] * (1 if depth == 1 else BEAM_WIDTH)
        parents = sorted({codes[: depth - 1] for codes in ordered})
        found = set()
        for row, parent, index in zip(closed.row_M, closed.parent_M1[:, 0], closed.index_M, strict=True):
            if parent >= 0:
                slot = index - row * width
                child = trie.child_start[depth - 1][parent] + slot
                found.add((int(row), (*parents[parent], int(trie.child_code[depth - 1][child]))))
        expected = set()
        for row, leaves in enumerate(excluded):
            for prefix in {codes[:depth] for codes in ordered}:
                below = {leaf for leaf, codes in enumerate(ordered) if codes[:depth] == prefix and mask_N[leaf]}
                if below and below <= set(leaves.tolist()):
                    expected.add((row, prefix))
        assert found == expected


def test_refuses_a_mask_of_another_catalogue(small: SemanticIdTrie) -> None:
    with pytest.raises(ValueError, match=r"one entry a leaf \(4\), got \(3,\)"):
        Eligibility.of(small, np.ones(3, dtype=np.bool_))
