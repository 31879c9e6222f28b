import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from rqrec.training.data.splits import Sequences
from rqrec.training.data.splitting.leave_one_out import leave_one_out
from rqrec.training.data.splitting.repeats import Repeats, held_out_share, measure_repeats, training_share
from rqrec.training.data.splitting.settings import SplitSettings

Rows = list[list[int]]


def ragged(rows: Rows) -> Sequences:
    return Sequences.from_arrays(
        np.array([i for row in rows for i in row], dtype=np.int32), np.cumsum([0, *map(len, rows)])
    )


def test_shares_of_targets_in_their_own_history() -> None:
    split = leave_one_out(ragged([[1, 2, 1, 3, 2], [4, 4, 5, 6], [1, 4, 7]]))
    assert held_out_share(split.test) == 1 / 3
    assert training_share(split.train) == 2 / 3  # of the targets 2, 1 and 4


@given(st.lists(st.lists(st.integers(0, 4), min_size=1, max_size=9), min_size=1, max_size=6))
def test_shares_are_those_of_a_plain_count(rows: Rows) -> None:
    repeats = [item in row[:place] for row in rows for place, item in enumerate(row) if place]
    assert training_share(ragged(rows)) == (np.mean(repeats) if repeats else 0)
    split = leave_one_out(ragged(rows))
    asked = [row for row in rows if len(row) > 2] if len(split.test) else []
    assert held_out_share(split.test) == (np.mean([row[-1] in row[:-1] for row in asked]) if asked else 0)


def decided(rows: Rows, exclude: bool | None = None) -> Repeats:
    settings = SplitSettings() if exclude is None else SplitSettings(exclude_history=exclude)
    return measure_repeats(leave_one_out(ragged(rows)), settings)


def test_the_test_items_decide_whether_lists_leave_out_the_history() -> None:
    new, again = [1, 2, 3, 4], [5, 6, 7, 5]
    assert decided([new] * 9 + [again]).exclude_history
    assert not decided([new] * 8 + [again]).exclude_history
    assert not decided([new] * 10, exclude=False).exclude_history
    assert decided([again] * 10, exclude=True).exclude_history


def test_without_test_items_the_training_items_decide() -> None:
    assert not decided([[1, 1]]).exclude_history
    assert decided([[1, 2]]).exclude_history


def test_the_line_of_the_report_says_what_follows() -> None:
    assert decided([[5, 6, 7, 5], [1, 2, 3, 4]]).line == (
        "repeats: 50.0% of the test items and 0.0% of the training items stand in the user's own history, so lists may "
        "repeat items of the history (SplitSettings.exclude_history)"
    )


def test_the_report_says_that_a_view_and_a_purchase_of_one_item_are_a_repeat() -> None:
    rows = ragged([[5, 6, 7, 5], [1, 2, 3, 1]])
    typed = leave_one_out(rows.with_arrays(types_I=np.array([1, 1, 1, 2, 1, 1, 1, 2], dtype=np.int8)))
    assert "such as a view and a purchase, are a repeat" in measure_repeats(typed, SplitSettings()).line
    excluded = measure_repeats(typed, SplitSettings(exclude_history=True))
    assert "such as a view" not in excluded.line


def test_dislikes_are_no_targets() -> None:
    rows = ragged([[1, 2, 1, 2, 3]])
    assert training_share(rows.with_arrays(weights_I=np.array([1, 1, 0, 1, 1], dtype=np.float32))) == 1 / 3
