"""Makes a test case of each of some interactions: given all that the user did before, what comes next?

Shapes: I interactions, Q test cases, U users.
"""

import numpy as np
from numpy.typing import NDArray

from rqrec.training.data.splits import Holdout, Sequences

LONGEST_HISTORY = 500  # items, as many as the service keeps of a user


def next_item_questions(sequences: Sequences, is_asked_I: NDArray[np.bool_]) -> tuple[Holdout, NDArray[np.int64]]:
    """Makes a test case of each asked interaction that has an item before it and is not a dislike.

    >>> two = Sequences.from_arrays(np.array([7, 8, 9, 4], dtype=np.int32), np.array([0, 3, 4]))
    >>> asked, user_Q = next_item_questions(two, np.ones(4, dtype=np.bool_))
    >>> [asked.histories[row].tolist() for row in range(2)], asked.targets_U.tolist(), user_Q.tolist()
    ([[7], [7, 8]], [8, 9], [0, 0])

    Args:
        sequences: Each user's items, oldest first.
        is_asked_I: The interactions to ask about.

    Returns:
        The test cases, and the row of each one's user in `sequences`, int64, shape (Q,).
    """
    begins_I = np.repeat(sequences.offsets_U[:-1], sequences.lengths_U)
    ends_Q = np.flatnonzero(is_asked_I & sequences.is_wanted_I & (np.arange(len(begins_I)) > begins_I))
    begins_Q = np.maximum(begins_I[ends_Q], ends_Q - LONGEST_HISTORY)
    lengths_Q = ends_Q - begins_Q
    offsets_Q = np.concatenate([[0], np.cumsum(lengths_Q)]).astype(np.int64)
    places = np.arange(offsets_Q[-1]) + np.repeat(begins_Q - offsets_Q[:-1], lengths_Q)
    times_Q = None if sequences.times_I is None else sequences.times_I[ends_Q]
    histories = Sequences.from_arrays(
        sequences.items_I[places],
        offsets_Q,
        None if sequences.weights_I is None else sequences.weights_I[places],
        None if sequences.types_I is None else sequences.types_I[places],
        None if sequences.times_I is None else sequences.times_I[places],
    )
    return Holdout(histories, sequences.items_I[ends_Q], times_U=times_Q), sequences.rows_I[ends_Q]


def sampled_interactions(is_asked_I: NDArray[np.bool_], size: int, *, seed: int) -> NDArray[np.bool_]:
    """Chooses some interactions at random, without replacement.

    Args:
        is_asked_I: The interactions from which to choose.
        size: Largest number of interactions to choose.
        seed: Seed of the sample.

    Returns:
        Whether each interaction was chosen, shape (I,).
    """
    asked = np.flatnonzero(is_asked_I)
    if len(asked) > size:
        asked = np.random.default_rng(seed).choice(asked, size, replace=False)
    sampled_I = np.zeros_like(is_asked_I)
    sampled_I[asked] = True
    return sampled_I
