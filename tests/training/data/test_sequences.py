from collections import Counter
from dataclasses import replace
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
    return Sequences(np.arange(sum(lengths), dtype=np.int32), np.cumsum([0, *lengths]))


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
    sequences = replace(ragged([6, 3]), weights_I=np.array([1, 0, 2, 0, 0, 1, 0, 0, 0], np.float32))
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
    sequences = replace(ragged([3] * count), types_I=np.tile(np.array([1, 2, 3], np.int8), count))
    data = SeqData(sequences, max_history=3, batch_size=32, seed=0)
    types = [row for batch in data.epoch(0) if batch.types_BT is not None for row in batch.types_BT.tolist()]
    assert len(types) == count
    assert {tuple(row) for row in types} == {(1, 2), (0, 0)}
    assert types.count([0, 0]) / count == pytest.approx(1 / 3, abs=0.06)
    assert [row for batch in data.epoch(0) if batch.types_BT is not None for row in batch.types_BT.tolist()] == types
