import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from rqrec.models.growing_array import SMALLEST_ROOM, GrowingArray


@given(st.lists(st.tuples(st.integers(0, 100), st.lists(st.integers(-9, 9), max_size=700)), max_size=20))
def test_arrays_stay_as_they_are_whatever_is_added_to_them(steps: list[tuple[int, list[int]]]) -> None:
    known = [(GrowingArray(np.array([1, 2])), [1, 2])]
    for number, added in steps:
        array, values = known[number % len(known)]
        known.append((array.extended(np.array(added, dtype=np.int64)), [*values, *added]))
    for array, values in known:
        assert array.rows.tolist() == values
        assert len(array) == len(values)


def test_rows_are_shared_until_there_is_no_room() -> None:
    first = GrowingArray(np.zeros((2, 3), dtype=np.float32))
    second = first.extended(np.ones((1, 3), dtype=np.float32))
    assert np.shares_memory(first.rows, second.rows)
    assert first.lineage is second.lineage
    third = second.extended(np.ones((SMALLEST_ROOM, 3), dtype=np.float32))
    assert not np.shares_memory(second.rows, third.rows)
    assert third.lineage is first.lineage
    other = first.extended(np.full((1, 3), 2, dtype=np.float32))
    assert other.lineage is not first.lineage
    assert second.rows[2].tolist() == [1, 1, 1]
