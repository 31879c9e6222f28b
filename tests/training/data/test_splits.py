import gc
import weakref
from random import Random
from unittest.mock import patch

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from rqrec.training.data.sequences import SeqData
from rqrec.training.data.splits import Holdout, Sequences, Split
from rqrec.training.data.splitting.leave_one_out import leave_one_out

Rows = list[list[int]]
rows_of_items = st.lists(st.lists(st.integers(0, 9), min_size=1, max_size=12), min_size=1, max_size=8)


def ragged(rows: Rows) -> Sequences:
    offsets = np.cumsum([0, *map(len, rows)])
    return Sequences.from_arrays(np.array([item for row in rows for item in row], dtype=np.int32), offsets)


def listed(sequences: Sequences) -> Rows:
    return [sequences[row].tolist() for row in range(len(sequences))]


def test_last_item_is_test_and_the_one_before_validation() -> None:
    split = leave_one_out(ragged([[1, 2, 3, 4], [5, 6], [7, 8, 9]]))
    assert listed(split.train) == [[1, 2], [5, 6], [7]]
    assert listed(split.validation.histories) == [[1, 2], [7]]
    assert split.validation.targets_U.tolist() == [3, 8]
    assert listed(split.test.histories) == [[1, 2, 3], [7, 8]]
    assert split.test.targets_U.tolist() == [4, 9]


def test_nothing_is_held_out_where_nothing_would_be_left_to_learn_from() -> None:
    rows = [[1, 2, 3], [4, 5, 6], [7]]
    split = leave_one_out(ragged(rows))
    assert listed(split.train) == rows
    assert len(split.validation) == len(split.test) == 0


def test_a_dislike_is_never_held_out_and_stays_in_the_histories() -> None:
    weights = [1, 1, 0, 1, 0, 1, 0, 1, 1, 0, 0]
    types = [1, 1, 2, 1, 2, 1, 2, 1, 1, 2, 2]
    rows = ragged([[1, 2, 3, 4, 5, 6, 7], [8, 9, 10, 11]])
    split = leave_one_out(rows.with_arrays(weights_I=np.array(weights, np.float32), types_I=np.array(types, np.int8)))
    assert listed(split.test.histories) == [[1, 2, 3, 4, 5]]
    assert split.test.targets_U.tolist() == [6]
    assert listed(split.validation.histories) == [[1, 2, 3]]
    assert split.validation.targets_U.tolist() == [4]
    assert listed(split.train) == [[1, 2, 3], [8, 9, 10, 11]]
    assert split.train.weights_I is not None
    assert split.train.weights_I.tolist() == [1, 1, 0, 1, 1, 0, 0]
    assert split.test.histories.types_of(0).tolist() == [1, 1, 2, 1, 2]


def test_times_stay_with_their_items_and_a_case_has_that_of_its_target() -> None:
    rows = ragged([[1, 2, 3, 4], [5, 6], [7, 8, 9]]).with_arrays(times_I=np.arange(100, 109))
    split = leave_one_out(rows)
    assert split.train.times_I is not None
    assert split.train.times_I.tolist() == [100, 101, 104, 105, 106]
    assert split.test.times_U is not None
    assert split.test.times_U.tolist() == [103, 108]
    assert split.test.histories.times_I is not None
    assert split.test.histories.times_I.tolist() == [100, 101, 102, 106, 107]
    assert split.test.sample(1, seed=0).times_U is not None
    assert leave_one_out(ragged([[1, 2, 3]])).test.times_U is None


@given(rows_of_items)
def test_weights_above_0_split_as_no_weights(rows: Rows) -> None:
    plain, split = (
        ragged(rows),
        leave_one_out(ragged(rows).with_arrays(weights_I=np.full(sum(map(len, rows)), 0.5, "f4"))),
    )
    expected = leave_one_out(plain)
    assert listed(split.train) == listed(expected.train)
    assert listed(split.test.histories) == listed(expected.test.histories)
    assert split.validation.targets_U.tolist() == expected.validation.targets_U.tolist()


def test_one_held_out_item_is_for_test() -> None:
    split = leave_one_out(ragged([[1, 2, 3, 4], [5, 6], [7]]), held_out_items=1)
    assert listed(split.train) == [[1, 2, 3], [5], [7]]
    assert len(split.validation) == 0
    assert listed(split.test.histories) == [[1, 2, 3], [5]]
    assert split.test.targets_U.tolist() == [4, 6]


def test_items_are_held_out_from_a_share_of_the_users_that_have_enough() -> None:
    rows = [[item, item + 1] for item in range(10)] + [[3]] * 10
    split = leave_one_out(ragged(rows), held_out_items=1, held_out_users=0.3, seed=1)
    assert len(split.test) == 3
    assert sum(len(row) == 2 for row in listed(split.train)) == 7


def test_nothing_is_held_out_where_no_item_is_to_be() -> None:
    split = leave_one_out(ragged([[1, 2, 3]]), held_out_items=0)
    assert listed(split.train) == [[1, 2, 3]]
    assert len(split.validation) == len(split.test) == 0


@given(rows_of_items)
def test_the_marks_of_training_interactions_give_the_training_part(rows: Rows) -> None:
    sequences = ragged(rows)
    split = leave_one_out(sequences)
    assert sequences.items_I[split.is_train_I].tolist() == split.train.items_I.tolist()


@given(rows_of_items)
def test_every_interaction_is_in_exactly_one_part(rows: Rows) -> None:
    split = leave_one_out(ragged(rows))
    parts = [*split.train.items_I, *split.validation.targets_U, *split.test.targets_U]
    assert sorted(int(item) for item in parts) == sorted(item for row in rows for item in row)


def training_pairs(split: Split) -> list[list[list[int]]]:
    """All that a training batch shows: (history, targets) rows over some epochs."""
    if (split.train.lengths_U < 2).all():
        return []
    data = SeqData(split.train, max_history=3, batch_size=4, seed=0)
    return [[batch.history_BT.tolist(), batch.targets_BT.tolist()] for e in range(3) for batch in data.epoch(e)]


@given(rows_of_items, st.data())
def test_no_held_out_item_leaks_into_training(rows: Rows, data: st.DataObject) -> None:
    """Whatever the held-out items are, training sees the same."""
    changed = [
        row[:-2] + data.draw(st.lists(st.integers(0, 9), min_size=2, max_size=2)) for row in rows if len(row) > 2
    ]
    original = [row for row in rows if len(row) > 2]
    if not original:
        return
    one, other = leave_one_out(ragged(original)), leave_one_out(ragged(changed))
    if not len(one.test):  # nothing is held out where nothing would be left to learn from
        return
    assert listed(one.train) == listed(other.train)
    assert training_pairs(one) == training_pairs(other)


def test_a_sample_keeps_histories_with_their_targets() -> None:
    holdout = Holdout(ragged([[i] * (i + 1) for i in range(20)]), np.arange(20, dtype=np.int32))
    sample = holdout.sample(7, seed=1)
    assert len(sample) == 7
    assert [row[0] for row in listed(sample.histories)] == sample.targets_U.tolist()
    assert holdout.sample(50, seed=1) is holdout


@given(rows_of_items, st.integers(1, 9), st.randoms(use_true_random=False))
def test_parts_of_sequences_are_those_of_plain_lists_and_copied_when_they_are_read(
    rows: Rows, at_once: int, random: Random
) -> None:
    whole = ragged(rows).with_arrays(times_I=np.arange(sum(map(len, rows))))
    ends, keep = [random.randint(0, len(row)) for row in rows], [random.random() < 0.5 for _ in rows]
    parts = whole.until(whole.offsets_U[:-1] + ends).select(np.array(keep))
    expected = [row[:end] for row, end, kept in zip(rows, ends, keep, strict=True) if kept]
    assert listed(parts) == expected
    assert not {"items_I", "times_I"} & vars(parts).keys()
    assert listed(parts.with_arrays(times_I=None)) == expected
    assert "times_I" not in vars(parts)
    assert parts.items_I.tolist() == [item for row in expected for item in row]
    with patch("rqrec.training.data.splits.ITEMS_AT_ONCE", at_once):
        assert [row for block in parts.blocks() for row in listed(block)] == expected
        assert [item for block in parts.blocks() for item in block.items_I.tolist()] == parts.items_I.tolist()


def test_sequences_that_are_no_longer_used_leave_memory_without_garbage_collection() -> None:
    gc.disable()
    try:
        whole = ragged([[1, 2, 3, 4, 5], [6, 7, 8, 9]])
        split = leave_one_out(whole)
        assert (whole[0][0], split.test.histories[0][0], len(split.train.items_I)) == (1, 1, 5)
        alive = [weakref.ref(one) for one in (whole, split.train, split.test.histories)]
        del whole, split
        assert [one() for one in alive] == [None] * 3
    finally:
        gc.enable()
