import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.trie import SemanticIdTrie, pack_codes, unpack_codes

CODEBOOK_SIZE = 4


@st.composite
def semantic_ids(draw: st.DrawFn) -> list[tuple[int, ...]]:
    levels = draw(st.integers(1, 5))
    code = st.integers(0, CODEBOOK_SIZE - 1)
    return draw(st.lists(st.tuples(*[code] * levels), min_size=1, max_size=30, unique=True))


def build(rows: list[tuple[int, ...]]) -> SemanticIdTrie:
    return SemanticIdTrie.build(np.array(rows), codebook_size=CODEBOOK_SIZE)


def test_hand_made_trie() -> None:
    trie = build([(1, 0), (0, 3), (1, 2), (0, 1)])
    assert trie.codes_NL.tolist() == [[0, 1], [0, 3], [1, 0], [1, 2]]
    assert trie.row_of_leaf_N.tolist() == [3, 1, 0, 2]
    assert trie.leaf_of_row_N.tolist() == [2, 1, 3, 0]
    assert [start.tolist() for start in trie.child_start] == [[0, 2], [0, 2, 4]]
    assert [code.tolist() for code in trie.child_code] == [[0, 1], [1, 3, 0, 2]]
    assert [start.tolist() for start in trie.leaf_start] == [[0, 4], [0, 2, 4], [0, 1, 2, 3, 4]]
    assert trie.max_children == (2, 2)
    assert trie.paths_NL().tolist() == [[0, 0], [0, 0], [0, 1], [0, 1]]


@given(semantic_ids())
def test_children_are_those_of_a_set_of_prefixes(rows: list[tuple[int, ...]]) -> None:
    trie = build(rows)
    for depth in range(trie.num_levels):
        prefixes = sorted({row[:depth] for row in rows})
        assert len(prefixes) == len(trie.child_start[depth]) - 1
        for node, prefix in enumerate(prefixes):
            children = slice(trie.child_start[depth][node], trie.child_start[depth][node + 1])
            expected = sorted({row[depth] for row in rows if row[:depth] == prefix})
            assert trie.child_code[depth][children].tolist() == expected
            below = [row for row in sorted(rows) if row[:depth] == prefix]
            first, end = trie.leaf_start[depth][node], trie.leaf_start[depth][node + 1]
            assert [tuple(codes) for codes in trie.codes_NL[first:end].tolist()] == below


@given(semantic_ids(), st.data())
def test_find_and_leaf_range_agree_with_the_sorted_list(rows: list[tuple[int, ...]], data: st.DataObject) -> None:
    trie = build(rows)
    ordered = sorted(rows)
    code = st.integers(-1, CODEBOOK_SIZE)
    asked = data.draw(st.lists(st.tuples(*[code] * trie.num_levels), min_size=1))
    expected = [ordered.index(row) if row in ordered else -1 for row in asked]
    assert trie.find(np.array(asked)).tolist() == expected
    prefix = data.draw(st.sampled_from(rows))[: data.draw(st.integers(0, trie.num_levels))]
    matching = [i for i, row in enumerate(ordered) if row[: len(prefix)] == prefix]
    assert trie.leaf_range(prefix) == (matching[0], matching[-1] + 1)


@given(semantic_ids())
def test_rows_and_leaves_map_to_each_other(rows: list[tuple[int, ...]]) -> None:
    trie = build(rows)
    assert trie.codes_of(trie.leaf_of_row_N).tolist() == [list(row) for row in rows]


def test_packing_keeps_lexicographic_order() -> None:
    codes = np.array([[0, 3], [1, 0], [1, 2], [3, 3]])
    keys = pack_codes(codes, 4)
    assert keys.tolist() == sorted(keys.tolist())
    assert unpack_codes(keys, 4, 2).tolist() == codes.tolist()


@pytest.mark.parametrize(
    ("codes", "message"),
    [
        ([[0, 1], [2, 3], [0, 1]], "rows 0 and 2 are both"),
        ([[0, 4]], r"codes must lie in \[0, 4\), got codes from 0 to 4"),
        ([[-1, 0]], "got codes from -1 to 0"),
        (np.empty((0, 2), dtype=np.int64), r"shape \(N, L\) with N, L >= 1"),
        (np.zeros((1, 40), dtype=np.int64), r"codebook_size \*\* L must lie in"),
    ],
)
def test_refuses_what_is_no_set_of_semantic_ids(codes: list[list[int]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SemanticIdTrie.build(np.array(codes), codebook_size=4)
