from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rqrec.training.data.sequences import SeqData, move_to_disk, tokenize_sequences
from rqrec.training.data.splits import Sequences


def ragged(lengths: list[int]) -> Sequences:
    """Rows whose items are all different, so that every position can be told apart."""
    return Sequences.from_arrays(np.arange(sum(lengths), dtype=np.int32), np.cumsum([0, *lengths]))


@given(
    lengths=st.lists(st.integers(0, 40), min_size=1, max_size=6).filter(lambda rows: max(rows) >= 2),
    max_history=st.integers(1, 9),
    batch_size=st.integers(1, 5),
    epoch=st.integers(0, 3),
)
def test_every_item_but_the_first_is_a_target_once_an_epoch(
    lengths: list[int], max_history: int, batch_size: int, epoch: int
) -> None:
    sequences = ragged(lengths)
    targets: Counter[int] = Counter()
    with TemporaryDirectory() as folder:
        stored = move_to_disk(sequences, Path(folder) / "sequences.npy")
    data = SeqData(stored, max_history=max_history, batch_size=batch_size, seed=0)
    batches = list(data.epoch(epoch))
    assert len(batches) == data.num_batches(epoch)
    for batch in batches:
        assert batch.history_BT.shape == batch.targets_BT.shape
        assert batch.history_BT.shape[1] <= max_history
        for history, followers in zip(batch.history_BT.tolist(), batch.targets_BT.tolist(), strict=True):
            for item, target in zip(history, followers, strict=True):
                assert (item == -1) == (target == -1)
                if target >= 0:
                    assert target == item + 1  # the very next item of the same user
                    targets[target] += 1
    firsts = set(sequences.offsets_U[:-1].tolist())
    expected = [item for item in range(sum(lengths)) if item not in firsts]
    assert targets == Counter(expected)


def test_the_same_seed_and_epoch_give_the_same_batches_and_others_differ() -> None:
    def epoch(seed: int, number: int) -> list[list[list[int]]]:
        data = SeqData(ragged([30, 20, 25]), max_history=5, batch_size=2, seed=seed)
        return [batch.history_BT.tolist() for batch in data.epoch(number)]

    assert epoch(0, 1) == epoch(0, 1)
    assert epoch(0, 1) != epoch(0, 2)
    assert epoch(0, 1) != epoch(1, 1)


def test_items_become_leaves() -> None:
    tokens = tokenize_sequences(ragged([2, 1]), np.array([5, 9, 7]))
    assert tokens.items_I.tolist() == [5, 9, 7]


def test_refuses_data_without_a_pair() -> None:
    with pytest.raises(ValueError, match="a user with two items outside the held-out ones"):
        SeqData(ragged([1, 1]), max_history=5, batch_size=2, seed=0)


def test_a_dislike_is_read_and_never_a_target(tmp_path: Path) -> None:
    sequences = ragged([6, 3]).with_arrays(weights_I=np.array([1, 0, 2, 0, 0, 1, 0, 0, 0], np.float32))
    stored = move_to_disk(sequences, tmp_path / "sequences.npy")
    data = SeqData(stored, max_history=3, batch_size=2, seed=0)
    targets: Counter[int] = Counter()
    for batch in data.epoch(1):
        assert batch.weights_BT is not None
        assert (batch.targets_BT >= 0).any(dim=1).all()  # no window without a target
        assert ((batch.weights_BT > 0) == (batch.targets_BT >= 0)).all()
        for target, weight in zip(
            batch.targets_BT.flatten().tolist(), batch.weights_BT.flatten().tolist(), strict=True
        ):
            assert target < 0 or weight == [1, 0, 2, 0, 0, 1][target]
        targets.update(batch.targets_BT.flatten().tolist())
    assert {target for target in targets if target >= 0} == {2, 5}


def test_a_third_of_the_windows_has_no_types() -> None:
    count = 600
    sequences = ragged([3] * count).with_arrays(types_I=np.tile(np.array([1, 2, 3], np.int8), count))
    data = SeqData(sequences, max_history=3, batch_size=32, seed=0)
    types = [row for batch in data.epoch(0) if batch.types_BT is not None for row in batch.types_BT.tolist()]
    assert len(types) == count
    assert {tuple(row) for row in types} == {(1, 2), (0, 0)}
    assert types.count([0, 0]) / count == pytest.approx(1 / 3, abs=0.06)
    assert [row for batch in data.epoch(0) if batch.types_BT is not None for row in batch.types_BT.tolist()] == types


@given(
    lengths=st.lists(st.integers(0, 40), min_size=1, max_size=6).filter(lambda rows: max(rows) >= 2),
    max_history=st.integers(1, 9),
    epoch=st.integers(0, 3),
)
def test_a_crop_cuts_off_the_oldest_items_and_leaves_a_target(lengths: list[int], max_history: int, epoch: int) -> None:
    def targets_by_last(crop_share: float) -> dict[int, list[int]]:
        data = SeqData(ragged(lengths), max_history=max_history, batch_size=3, seed=0, crop_share=crop_share)
        windows = [[i for i in row if i >= 0] for batch in data.epoch(epoch) for row in batch.targets_BT.tolist()]
        return {window[-1]: window for window in windows}

    whole, cropped = targets_by_last(0.0), targets_by_last(1.0)
    assert cropped.keys() == whole.keys()
    for last, targets in cropped.items():
        assert targets == whole[last][-len(targets) :]


def target_counts(crop_share: float, count: int = 2000) -> list[int]:
    """The numbers of targets of windows that have four before they are cropped."""
    data = SeqData(ragged([5] * count), max_history=4, batch_size=32, seed=0, crop_share=crop_share)
    return [row for batch in data.epoch(0) for row in (batch.targets_BT >= 0).sum(dim=1).tolist()]


def test_a_crop_begins_at_a_uniformly_random_item() -> None:
    numbers = Counter(target_counts(1.0))
    assert sorted(numbers) == [1, 2, 3, 4]
    assert [number / 2000 for number in numbers.values()] == pytest.approx([0.25] * 4, abs=0.04)


def test_only_the_given_share_of_the_windows_is_cropped() -> None:
    whole = target_counts(0.4).count(4)
    assert whole / 2000 == pytest.approx(0.6 + 0.4 / 4, abs=0.04)


def test_crops_change_every_epoch_and_not_with_the_same_seed_and_epoch() -> None:
    def targets(seed: int, epoch: int) -> set[int]:
        data = SeqData(ragged([5] * 50), max_history=4, batch_size=8, seed=seed, crop_share=0.5)
        return {target for batch in data.epoch(epoch) for target in batch.targets_BT.flatten().tolist()}

    assert targets(0, 1) == targets(0, 1)
    assert targets(0, 1) != targets(0, 2)
    assert targets(0, 1) != targets(1, 1)


def test_batches_have_about_the_same_number_of_targets() -> None:
    lengths = np.random.default_rng(0).integers(2, 21, 4000)
    sequences = Sequences.from_arrays(
        np.zeros(lengths.sum(), dtype=np.int32), np.concatenate([[0], np.cumsum(lengths)])
    )
    data = SeqData(sequences, max_history=20, batch_size=32, seed=0)
    batches = list(data.epoch(0))
    targets = np.array([int((batch.targets_BT >= 0).sum()) for batch in batches])
    assert abs(len(batches) - 4000 / 32) <= 1
    assert targets.max() - targets.min() <= 2 * 20  # a window at each end
    assert max(len(batch.history_BT) for batch in batches) > 3 * min(len(batch.history_BT) for batch in batches)


@pytest.mark.parametrize(
    ("longest", "size", "most"), [(20, 128, 128 * 20), (100, 128, 600), (100, 16, 600), (9, 50, 10**6)]
)
def test_a_batch_has_neither_too_many_windows_nor_too_many_targets(longest: int, size: int, most: int) -> None:
    data = SeqData(
        ragged(np.random.default_rng(0).integers(2, 300, 1000).tolist()),
        max_history=longest,
        batch_size=size,
        batch_targets=most,
        seed=0,
        crop_share=0.5,
    )
    batches = list(data.epoch(0))
    windows = [len(batch.history_BT) for batch in batches]
    targets = [int((batch.targets_BT >= 0).sum()) for batch in batches]
    full = max(np.mean(windows) / size, np.mean(targets) / most)
    assert 0.97 < full <= 1.0


def test_crops_keep_the_last_target_before_dislikes() -> None:
    weights = np.array([1, 1, 0, 0, 0, 0] * 50, dtype=np.float32)
    sequences = Sequences.from_arrays(np.arange(300, dtype=np.int32), np.arange(0, 301, 6), weights)
    for epoch in range(3):
        data = SeqData(sequences, max_history=9, batch_size=7, seed=0, crop_share=1.0)
        targets = np.concatenate([batch.targets_BT.flatten().numpy() for batch in data.epoch(epoch)])
        assert sorted(targets[targets >= 0].tolist()) == list(range(1, 300, 6))


def test_dislikes_do_not_count_as_targets_of_a_batch() -> None:
    rows = [[1, 1, 1]] * 600 + [[1, 1, 1] + [0] * 18] * 100
    weights = np.array([weight for row in rows for weight in row], dtype=np.float32)
    sequences = Sequences.from_arrays(np.arange(len(weights), dtype=np.int32), np.cumsum([0, *map(len, rows)]), weights)
    data = SeqData(sequences, max_history=20, batch_size=32, seed=0)
    counts = [int((batch.targets_BT >= 0).sum()) for batch in data.epoch(0)]
    assert max(counts) - min(counts) <= 4
