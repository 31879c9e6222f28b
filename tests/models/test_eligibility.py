import numpy as np
import pytest

from models.eligibility import Eligibility
from models.trie import SemanticIdTrie


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


def test_refuses_a_mask_of_another_catalogue(small: SemanticIdTrie) -> None:
    with pytest.raises(ValueError, match=r"one entry a leaf \(4\), got \(3,\)"):
        Eligibility.of(small, np.ones(3, dtype=np.bool_))
