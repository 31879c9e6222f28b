import pytest

from benchmarks.support.synthetic import CODEBOOK_SIZE, synthetic_codes
from rqrec.models.trie.trie import SemanticIdTrie


def test_synthetic_ids_are_unique_and_as_skewed_as_stated() -> None:
    trie = SemanticIdTrie.build(synthetic_codes(12_101, seed=0), codebook_size=CODEBOOK_SIZE)
    nodes = [len(start) - 1 for start in trie.child_start]
    assert nodes == pytest.approx([1, 256, 6_700, 11_260], rel=0.02)
    assert trie.max_children == pytest.approx((256, 111, 27, 13), rel=0.15)
