"""What is learnt: the new interactions, and of the old ones the latest."""

import numpy as np

from rqrec.training.data.splits import Sequences
from rqrec.training.retrain.targets import held_out_from, with_targets

# Two users. The times say which interactions are old; the third of the first user is a dislike.
SEQUENCES = Sequences(
    np.arange(7, dtype=np.int32),
    np.array([0, 4, 7]),
    weights_I=np.array([1, 2, 0, 3, 1, 1, 5], dtype=np.float32),
    times_I=np.array([10, 30, 40, 100, 20, 50, 110]),
)
IS_NEW_I = SEQUENCES.times_I >= 100  # type: ignore[operator]


def test_new_interactions_keep_their_weights_and_others_have_none() -> None:
    assert with_targets(SEQUENCES, IS_NEW_I, replay=0).weights_I.tolist() == [0, 0, 0, 3, 0, 0, 5]  # type: ignore[union-attr]


def test_the_latest_old_interactions_are_replayed_but_no_dislike() -> None:
    assert with_targets(SEQUENCES, IS_NEW_I, replay=1).weights_I.tolist() == [0, 2, 0, 3, 0, 1, 5]  # type: ignore[union-attr]
    assert with_targets(SEQUENCES, IS_NEW_I, replay=9).weights_I.tolist() == [1, 2, 0, 3, 1, 1, 5]  # type: ignore[union-attr]


def test_every_item_stays_in_the_history() -> None:
    mixed = with_targets(SEQUENCES, IS_NEW_I, replay=1)
    assert mixed.items_I is SEQUENCES.items_I
    assert mixed.offsets_U is SEQUENCES.offsets_U


def test_without_weights_all_count_the_same() -> None:
    plain = Sequences(SEQUENCES.items_I, SEQUENCES.offsets_U, times_I=SEQUENCES.times_I)
    assert with_targets(plain, IS_NEW_I, replay=1).weights_I.tolist() == [0, 0, 1, 1, 0, 1, 1]  # type: ignore[union-attr]


def test_the_latest_share_is_held_out() -> None:
    times = [*range(100, 200)]
    assert sum(time >= held_out_from(times, 0.2) for time in times) == 20
