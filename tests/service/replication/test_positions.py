from hypothesis import given
from hypothesis import strategies as st

from rqrec.service.replication.positions import is_before, is_position, next_position, order_of

LARGEST = 10**15 - 1
positions = st.builds("{}-{}".format, st.integers(0, LARGEST), st.integers(0, LARGEST - 1))


def test_positions_are_ordered_by_their_numbers() -> None:
    ordered = ["", "nonsense", "0-0", "0-1", "2-0", "10-0", "10-2", "10-10"]
    assert [is_position(one) for one in ordered] == [False, False, *[True] * 6]
    assert sorted(ordered[:0:-1], key=order_of) == ordered[1:]
    assert not is_position("1000000000000000-0")  # 16 digits: no clock gives it
    assert not is_position("1-٣")


@given(known=st.lists(positions), now_s=st.floats(0, 1e11))
def test_the_next_position_comes_after_all_known_ones(known: list[str], now_s: float) -> None:
    """Invariant I1: a new event comes after every event that its writer knows."""
    after = next_position(known, now_s)
    assert is_position(after)
    assert all(is_before(one, after) for one in known)
    assert not is_before(after, f"{round(1000 * now_s)}-0")
