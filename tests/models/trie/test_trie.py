import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from rqrec.models.trie.trie import SemanticIdTrie, pack_codes, unpack_codes

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
    assert [start.tolist() for start in trie.leaf_start] == [[0, 4], [0, 2, 4]]
    assert trie.max_children == (2, 2)
    assert trie.paths_LN.tolist() == [[0, 0, 0, 0], [0, 0, 1, 1]]


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
            first, end = trie.leaf_start[depth][node : node + 2]
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


@given(semantic_ids(), st.data())
def test_a_changed_trie_equals_one_built_anew(rows: list[tuple[int, ...]], data: st.DataObject) -> None:
    trie = build(rows)
    before = trie.codes_NL.copy()
    deleted = data.draw(st.lists(st.sampled_from(sorted(rows)), unique=True))
    kept = [row for row in rows if row not in deleted]
    code = st.integers(0, CODEBOOK_SIZE - 1)
    new = st.tuples(*[code] * trie.num_levels).filter(lambda row: row not in kept)
    inserted = data.draw(st.lists(new, unique=True))
    assume(kept or inserted)
    changed = trie.with_changes(
        inserted_ML=np.array(inserted, dtype=np.int64).reshape(-1, trie.num_levels),
        inserted_rows_M=np.arange(len(rows), len(rows) + len(inserted)),
        deleted_leaves=trie.find(np.array(deleted, dtype=np.int64).reshape(-1, trie.num_levels)),
    )
    expected = build([*kept, *inserted])
    rows_of = np.array([rows.index(row) for row in kept] + [len(rows) + i for i in range(len(inserted))])
    assert changed.row_of_leaf_N.tolist() == rows_of[expected.row_of_leaf_N].tolist()
    assert changed.codes_NL.tolist() == expected.codes_NL.tolist()
    for depth in range(trie.num_levels):
        assert changed.child_start[depth].tolist() == expected.child_start[depth].tolist()
        assert changed.child_code[depth].tolist() == expected.child_code[depth].tolist()
        assert changed.leaf_start[depth].tolist() == expected.leaf_start[depth].tolist()
    assert (trie.codes_NL == before).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"inserted_ML": [[0, 1]], "inserted_rows_M": [5]}, r"the semantic ID \[0, 1\] is taken"),
        ({"inserted_ML": [[2, 2], [2, 2]], "inserted_rows_M": [5, 6]}, r"the semantic ID \[2, 2\] is taken"),
        ({"inserted_ML": [[2, 2]]}, "got 1 leaves and none rows"),
        ({"inserted_ML": [[2, 2, 2]], "inserted_rows_M": [5]}, "must have 2 codes, got 3"),
        ({"deleted_leaves": [4]}, r"must lie in \[0, 4\), got 4 to 4"),
        ({"deleted_leaves": [0, 1, 2, 3]}, "would delete the last one"),
    ],
)
def test_refuses_changes_that_cannot_be(change: dict[str, list[int]], message: str) -> None:
    trie = build([(1, 0), (0, 3), (1, 2), (0, 1)])
    with pytest.raises(ValueError, match=message):
        trie.with_changes(**{name: np.array(value) for name, value in change.items()})


def test_leaves_of_rows_that_are_gone_are_none() -> None:
    trie = build([(1, 0), (0, 3), (1, 2)]).with_changes(deleted_leaves=np.array([1]))
    assert trie.leaf_of_row_N.tolist() == [-1, 0, 1]


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
