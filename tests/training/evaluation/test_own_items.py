import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from rqrec.training.data.splits import Holdout, Sequences
from rqrec.training.evaluation.own_items import rank_by_own_frequency, rank_by_own_recency

Rows = list[list[int]]


def asked(rows: Rows) -> Holdout:
    histories = Sequences.from_arrays(
        np.array([i for row in rows for i in row], dtype=np.int32), np.cumsum([0, *map(len, rows)])
    )
    return Holdout(histories, np.zeros(len(rows), dtype=np.int32))


def test_own_items_by_frequency_then_recency_filled_up_by_popularity() -> None:
    holdout, popular = asked([[5, 7, 5, 6], [1]]), np.array([9, 5, 3, 1])
    assert rank_by_own_frequency(holdout, popular, k=4).tolist() == [[5, 6, 7, 9], [1, 9, 5, 3]]
    assert rank_by_own_recency(holdout, popular, k=4).tolist() == [[6, 5, 7, 9], [1, 9, 5, 3]]


def test_lists_stay_short_without_fillers() -> None:
    assert rank_by_own_recency(asked([[2, 3]]), np.array([3]), k=4).tolist() == [[3, 2, -1, -1]]


@given(st.lists(st.lists(st.integers(0, 5), min_size=1, max_size=12), min_size=1, max_size=5))
def test_lists_are_those_of_a_plain_sort(rows: Rows) -> None:
    nothing = np.empty(0, dtype=np.int64)
    by_count, by_time = (rank(asked(rows), nothing, k=3) for rank in (rank_by_own_frequency, rank_by_own_recency))
    for row, frequent, recent in zip(rows, by_count.tolist(), by_time.tolist(), strict=True):
        latest = sorted(set(row), key=row[::-1].index)
        expected = sorted(latest, key=lambda item: -row.count(item))
        assert [item for item in frequent if item >= 0] == expected[:3]
        assert [item for item in recent if item >= 0] == latest[:3]
