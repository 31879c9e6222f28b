import numpy as np
import polars as pl
import pytest

from rqrec.models.trie.trie import NO_LEAF
from rqrec.service.catalogue.published import leaf_index
from rqrec.service.catalogue.published.leaf_index import LeafIndex

IDS = [f"ü{number}" for number in range(300)]
ROW_OF_LEAF_N = np.random.default_rng(0).permutation(300).astype(np.int32)
ASKED = [*IDS[5:50], "", "unknown", "\ud800", *IDS[:5], IDS[7]]


@pytest.mark.parametrize("different", [2**63, 7, 1])  # hashes; many ids share one
def test_hashes_find_what_a_dictionary_finds(different: int, monkeypatch: pytest.MonkeyPatch) -> None:
    by_dictionary = LeafIndex(pl.Series(IDS), ROW_OF_LEAF_N)
    monkeypatch.setattr(leaf_index, "HASHED_FROM", 0)
    monkeypatch.setattr(leaf_index, "_hashes", lambda ids: ids.hash().to_numpy() % different)
    by_hash = LeafIndex(pl.Series(IDS), ROW_OF_LEAF_N)
    expected = [ROW_OF_LEAF_N.tolist().index(IDS.index(one)) if one in IDS else NO_LEAF for one in ASKED]
    assert by_dictionary.leaves(ASKED).tolist() == by_hash.leaves(ASKED).tolist() == expected
    assert dict(by_hash) == dict(by_dictionary)
    assert by_hash.leaves([]).tolist() == []
    assert "unknown" not in by_hash
