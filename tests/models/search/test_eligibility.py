import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rqrec.models.search.eligibility import Eligibility
from rqrec.models.trie.trie import SemanticIdTrie
from tests.models.conftest import random_codes


@pytest.fixture
def small() -> SemanticIdTrie:
    return SemanticIdTrie.build(np.array([[0, 0, 1], [0, 0, 2], [0, 3, 0], [2, 1, 1]]), codebook_size=4)


def test_hand_made_mask(small: SemanticIdTrie) -> None:
    eligibility = Eligibility.from_mask(small, np.array([False, True, False, True]))
    assert eligibility.count == 2
    assert eligibility.mask_N.tolist() == [False, True, False, True]
    nodes = [2, 3, 4]  # the margin is after them
    shut = -np.inf
    assert [penalty[:count].tolist() for penalty, count in zip(eligibility.penalties, nodes, strict=True)] == [
        [0, 0],
        [0, shut, 0],
        [shut, 0, shut, 0],
    ]
    assert eligibility.allows(np.array([0, 1, 3])).tolist() == [False, True, True]


def test_refuses_a_mask_of_another_catalogue(small: SemanticIdTrie) -> None:
    with pytest.raises(ValueError, match=r"one entry per leaf, shape \(4,\), got \(3,\)"):
        Eligibility.from_mask(small, np.ones(3, dtype=np.bool_))


@given(seed=st.integers(0, 10**6), levels=st.integers(1, 4), share=st.floats(0, 1))
def test_changed_arrays_are_those_worked_out_anew(seed: int, levels: int, share: float) -> None:
    rng = np.random.default_rng(seed)
    codebook_size = 40 if levels == 1 else 6
    codes_NL = random_codes(rng, items=min(40, codebook_size**levels), levels=levels, codebook_size=codebook_size)
    trie = SemanticIdTrie.build(codes_NL, codebook_size=codebook_size)
    mask_N = rng.random(trie.num_leaves) < share
    before = Eligibility.from_mask(trie, mask_N)
    leaves = rng.permutation(trie.num_leaves)[:10]
    changed_mask_M = rng.random(len(leaves)) < share
    after_N = mask_N.copy()
    after_N[leaves] = changed_mask_M
    changed, anew = before.with_changes(leaves, changed_mask_M), Eligibility.from_mask(trie, after_N)
    assert changed.count == anew.count
    for one, other in zip(
        (changed.mask_N, changed.eligible_below, *changed.penalties),
        (anew.mask_N, anew.eligible_below, *anew.penalties),
        strict=True,
    ):
        assert (one == other).all()
    assert (before.mask_N == mask_N).all()


def test_added_places_come_after_the_leaves(small: SemanticIdTrie) -> None:
    eligibility = Eligibility.from_mask(small, np.array([False, True, False, True]), np.array([True, False]))
    assert eligibility.count == 3
    assert eligibility.allows(np.array([5, 4, 1, 0])).tolist() == [False, True, True, False]
