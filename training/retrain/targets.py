"""Chooses what a retraining learns: the new interactions, mixed with a replay of old ones.

All interactions stay in the sequences, so every target has its whole history. The others get the weight 0.

Shapes: I interactions.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from rqrec.training.data.splits import Sequences


def with_targets(
    sequences: Sequences, is_new_I: NDArray[np.bool_], *, replay: float, seed: int | None = None
) -> Sequences:
    """Returns the same sequences, in which only new interactions and some of the others are training targets.

    Args:
        sequences: Sequences with times.
        is_new_I: The interactions to learn.
        replay: Number of other targets for each new one.
        seed: Seed of a random choice of the others. None for the latest ones.
    """
    assert sequences.times_I is not None
    is_chosen_I = is_new_I & sequences.is_wanted_I
    others = np.flatnonzero(~is_new_I & sequences.is_wanted_I)
    if seed is None:
        others = others[np.argsort(-sequences.times_I[others], kind="stable")]
    else:
        others = np.random.default_rng(seed).permutation(others)
    is_chosen_I[others[: round(replay * int(is_chosen_I.sum()))]] = True
    weights_I = np.ones(len(is_new_I), dtype=np.float32) if sequences.weights_I is None else sequences.weights_I
    return sequences.with_arrays(weights_I=np.where(is_chosen_I, weights_I, np.float32(0)))


def held_out_from(times_I: Sequence[int], share: float) -> int:
    """Returns the time at which the held-out interactions begin, so that they are about a share of all.

    Args:
        times_I: The times of the new interactions, in seconds, at least one.
        share: The share to hold out, in (0, 1).
    """
    return int(np.quantile(times_I, 1 - share, method="higher"))
