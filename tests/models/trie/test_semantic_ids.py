import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rqrec.models.trie.semantic_ids import (
    append_collision_codes,
    collision_ratio,
    format_semantic_id,
    parse_semantic_id,
)


def test_colliding_items_are_numbered_in_row_order() -> None:
    codes = append_collision_codes(np.array([[1, 2], [0, 3], [1, 2], [1, 2]]), codebook_size=4)
    assert codes.tolist() == [[1, 2, 0], [0, 3, 0], [1, 2, 1], [1, 2, 2]]


def test_collision_ratio_counts_every_item_that_shares_its_codes() -> None:
    assert collision_ratio(np.array([[1, 2], [0, 3], [1, 2], [1, 2]]), codebook_size=4) == 0.75


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=20))
def test_every_id_is_unique_and_keeps_its_codes(rows: list[tuple[int, int]]) -> None:
    codes = append_collision_codes(np.array(rows), codebook_size=32)
    assert len({tuple(row) for row in codes.tolist()}) == len(rows)
    assert codes[:, :2].tolist() == [list(row) for row in rows]


def test_collapse_is_refused_with_advice() -> None:
    with pytest.raises(ValueError, match="5 items share one semantic ID but the collision level holds 4 codes"):
        append_collision_codes(np.zeros((5, 2), dtype=np.int64), codebook_size=4)


@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=6))
def test_text_form_round_trips(codes: list[int]) -> None:
    assert parse_semantic_id(format_semantic_id(codes)) == codes


@pytest.mark.parametrize("text", ["", "1-", "a", "1--2", "-1", "1.5", "٣"])
def test_refuses_text_that_is_no_semantic_id(text: str) -> None:
    with pytest.raises(ValueError, match="whole numbers joined by"):
        parse_semantic_id(text)
