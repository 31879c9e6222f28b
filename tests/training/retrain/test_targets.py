"""What is learnt: the new interactions, and of the old ones the latest or any."""

import numpy as np

from rqrec.training.data.splits import Sequences
from rqrec.training.retrain.targets import held_out_from, with_targets

# Two users. The times say which interactions are old; the third of the first user is a dislike.
TIMES_I = np.array([10, 30, 40, 100, 20, 50, 110])
SEQUENCES = Sequences.from_arrays(
    np.arange(7, dtype=np.int32),
    np.array([0, 4, 7]),
    weights_I=np.array([1, 2, 0, 3, 1, 1, 5], dtype=np.float32),
    times_I=TIMES_I,
)
IS_NEW_I = TIMES_I >= 100


def weights(sequences: Sequences, *, replay: float, seed: int | None = None) -> list[float]:
    found_I = with_targets(sequences, IS_NEW_I, replay=replay, seed=seed).weights_I
    assert found_I is not None
    return [float(weight) for weight in found_I]


def test_new_interactions_keep_their_weights_and_others_have_none() -> None:
    assert weights(SEQUENCES, replay=0) == [0, 0, 0, 3, 0, 0, 5]


def test_the_latest_old_interactions_are_replayed_but_no_dislike() -> None:
    assert weights(SEQUENCES, replay=1) == [0, 2, 0, 3, 0, 1, 5]
    assert weights(SEQUENCES, replay=9) == [1, 2, 0, 3, 1, 1, 5]


def test_any_old_interactions_are_replayed_with_a_seed() -> None:
    old, chosen = {0, 1, 4, 5}, set[int]()
    for seed in range(20):
        weights_I = with_targets(SEQUENCES, IS_NEW_I, replay=1, seed=seed).weights_I
        assert weights_I is not None
        replayed = set(np.flatnonzero(weights_I).tolist()) - {3, 6}
        assert len(replayed) == 2
        chosen |= replayed
    assert chosen == old
    assert weights(SEQUENCES, replay=1, seed=0) == weights(SEQUENCES, replay=1, seed=0)


def test_every_item_stays_in_the_history() -> None:
    mixed = with_targets(SEQUENCES, IS_NEW_I, replay=1)
    assert np.shares_memory(mixed.items_I, SEQUENCES.items_I)
    assert mixed.items_I.tolist() == SEQUENCES.items_I.tolist()
    assert mixed.offsets_U.tolist() == SEQUENCES.offsets_U.tolist()


def test_without_weights_all_count_the_same() -> None:
    plain = Sequences.from_arrays(SEQUENCES.items_I, SEQUENCES.offsets_U, times_I=SEQUENCES.times_I)
    assert weights(plain, replay=1) == [0, 0, 1, 1, 0, 1, 1]


def test_the_latest_share_is_held_out() -> None:
    times = [*range(100, 200)]
    assert sum(time >= held_out_from(times, 0.2) for time in times) == 20
