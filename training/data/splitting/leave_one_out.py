"""The leave-one-out split: a user's last item is for test, the item before it for validation.

Dislikes are not held out: the two items are the last ones that the user did not dislike.

Shapes: U users, I interactions.
"""

import numpy as np
from numpy.typing import NDArray

from rqrec.training.data.compact.sections import in_sections
from rqrec.training.data.splits import Holdout, Sequences, Split


def leave_one_out(
    sequences: Sequences, *, held_out_items: int = 2, held_out_users: float = 1.0, seed: int = 0
) -> Split:
    """Splits sequences: each user's last items are held out for test and validation, the others are for training.

    Dislikes are not held out as targets. The history of a test case includes the validation item. Users with too few
    items are in the training part with all their items. If the training part had no training target left, nothing is
    held out.

    Args:
        sequences: Each user's items, oldest first.
        held_out_items: Held-out items per user: 2 for test and validation, 1 for test only, 0 for none.
        held_out_users: Share of the users whose items are held out, in [0, 1]. Other users are for training only.
        seed: Seed of the random choice of the users whose items are held out.
    """
    ends_U = sequences.offsets_U[1:]
    test_U, validation_U = _last_wanted(sequences)
    first_U = (ends_U, test_U, validation_U)[held_out_items]
    evaluated_U = can_hold_out(sequences, held_out_items)
    if held_out_users < 1:
        able = np.flatnonzero(evaluated_U)
        kept = np.random.default_rng(seed).permutation(able)[round(held_out_users * len(able)) :]
        evaluated_U[kept] = False
    cut_U = np.where(evaluated_U, first_U, ends_U)
    train = sequences.until(cut_U)
    if not train.has_target:
        evaluated_U, cut_U, train = np.zeros_like(evaluated_U), ends_U, sequences
    is_train_I = in_sections(sequences.offsets_U[:-1], train.lengths_U, int(sequences.offsets_U[-1]))
    validated_U = evaluated_U & (held_out_items > 1)
    test, validation = _asked(sequences, test_U, evaluated_U), _asked(sequences, validation_U, validated_U)
    return Split(train, validation, test, is_train_I)


def can_hold_out(sequences: Sequences, held_out_items: int) -> NDArray[np.bool_]:
    """Returns for each user whether their sequence is long enough to hold out some items.

    A user needs `held_out_items` items that are not dislikes, and at least one item before them.

    Args:
        sequences: Each user's items, oldest first.
        held_out_items: How many items to hold out: 0, 1 or 2. With 0, the result is False for every user.
    """
    if not held_out_items:
        return np.zeros(len(sequences), dtype=np.bool_)
    return _last_wanted(sequences)[held_out_items - 1] > sequences.offsets_U[:-1]


def _asked(sequences: Sequences, target_U: NDArray[np.int64], asked_U: NDArray[np.bool_]) -> Holdout:
    """Asks some users about their items at the positions `target_U`."""
    targets = target_U[asked_U]
    times_U = None if sequences.times_I is None else sequences.times_I[targets]
    return Holdout(sequences.until(target_U).select(asked_U), sequences.items_I[targets], times_U=times_U)


def _last_wanted(sequences: Sequences) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Returns the positions of each row's last and last but one wanted item; a row's start where there is none."""
    found = [_last_wanted_places(block) for block in sequences.blocks()]
    begins_U = sequences.offsets_U[:-1]
    return begins_U + np.concatenate([last for last, _ in found]), begins_U + np.concatenate([one for _, one in found])


def _last_wanted_places(sequences: Sequences) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Returns the places in their row of each row's last and last but one wanted item; 0 where there is none."""
    begins_U, wanted_I = sequences.offsets_U[:-1], sequences.is_wanted_I
    wanted_W = np.flatnonzero(wanted_I)
    counts_U = np.diff(np.concatenate([[0], np.cumsum(wanted_I)])[sequences.offsets_U])
    ends_U = np.cumsum(counts_U)

    def from_the_end(rank: int) -> NDArray[np.int64]:
        found_U = np.zeros_like(begins_U)
        has_U = counts_U >= rank
        found_U[has_U] = wanted_W[(ends_U - rank)[has_U]] - begins_U[has_U]
        return found_U

    return from_the_end(1), from_the_end(2)
