"""Sequences of items, and the leave-one-out split: a user's last item is for test, the one before for validation.

A dislike is never the item for test or validation, so these are the last two items that the user did not dislike.

Shapes: U users, I interactions.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rqrec.training.data.dataset import TYPE, WEIGHT, Dataset

MIN_ITEMS_TO_LEARN = 2
IndexArray = NDArray[np.int32]


@dataclass(frozen=True)
class Sequences:
    """Sequences of items, one row for each user. A row has any length and holds item_index, oldest first.

    Attributes:
        items_I: All rows one after the other, int32.
        offsets_U: The position in `items_I` where each row starts, then the end of the last row, int64, shape (U + 1,).
        weights_I: Weight of each item as a target of training, float32; 0 for an item that is never a target, such as a
            dislike. None if every item has the weight 1.
        types_I: The event type of each item, by its number, int8; 0 for unknown. None if the data has no event types.
    """

    items_I: IndexArray
    offsets_U: NDArray[np.int64]
    weights_I: NDArray[np.float32] | None = None
    types_I: NDArray[np.int8] | None = None

    def __len__(self) -> int:
        return len(self.offsets_U) - 1

    def __getitem__(self, row: int) -> IndexArray:
        return self.items_I[self.offsets_U[row] : self.offsets_U[row + 1]]

    @property
    def lengths_U(self) -> NDArray[np.int64]:
        """Number of items in each row."""
        return np.diff(self.offsets_U)

    def types_of(self, row: int) -> NDArray[np.int64]:
        """Returns the event types of a row's items; all are unknown if the data has no event types."""
        if self.types_I is None:
            return np.zeros(int(self.offsets_U[row + 1] - self.offsets_U[row]), dtype=np.int64)
        return self.types_I[self.offsets_U[row] : self.offsets_U[row + 1]].astype(np.int64)

    @property
    def is_wanted_I(self) -> NDArray[np.bool_]:
        """Whether each item may be a target."""
        return np.ones(len(self.items_I), dtype=np.bool_) if self.weights_I is None else self.weights_I > 0

    @property
    def has_target(self) -> bool:
        """Whether a row has a wanted item after another item."""
        is_wanted_I = self.is_wanted_I.copy()
        is_wanted_I[self.offsets_U[:-1][self.lengths_U > 0]] = False
        return bool(is_wanted_I.any())

    @property
    def rows_I(self) -> NDArray[np.int64]:
        """The row of each item."""
        return np.repeat(np.arange(len(self)), self.lengths_U)

    def pairs(self, distance: int) -> tuple[IndexArray, IndexArray]:
        """Returns all pairs of items of one row at this distance: the earlier items, and the later items."""
        row_I = self.rows_I
        same = row_I[:-distance] == row_I[distance:]
        return self.items_I[:-distance][same], self.items_I[distance:][same]

    def until(self, ends_U: NDArray[np.int64]) -> "Sequences":
        """Cuts off the end of each row.

        Args:
            ends_U: For each row, the position in `items_I` of the first item that is cut off.
        """
        keep_I = np.arange(len(self.items_I)) < np.repeat(ends_U, self.lengths_U)
        return self._keep(keep_I, ends_U - self.offsets_U[:-1])

    def select(self, keep_U: NDArray[np.bool_]) -> "Sequences":
        """Returns the rows where `keep_U` is true."""
        return self._keep(np.repeat(keep_U, self.lengths_U), self.lengths_U[keep_U])

    def only(self, keep_I: NDArray[np.bool_]) -> "Sequences":
        """Returns the rows with the marked items only."""
        return self._keep(keep_I, np.diff(np.concatenate([[0], np.cumsum(keep_I)])[self.offsets_U]))

    def _keep(self, keep_I: NDArray[np.bool_], lengths_U: NDArray[np.int64]) -> "Sequences":
        weights_I = None if self.weights_I is None else self.weights_I[keep_I]
        types_I = None if self.types_I is None else self.types_I[keep_I]
        return Sequences(self.items_I[keep_I], np.concatenate([[0], np.cumsum(lengths_U)]), weights_I, types_I)


@dataclass(frozen=True)
class Holdout:
    """Questions to a recommender: after row u of `histories`, does it recommend item `targets_U[u]`?

    Attributes:
        histories: Each user's items before the question, oldest first.
        targets_U: Each user's next item.
        period: All items that each user chose in the period that is asked about; None if only the next item is.
    """

    histories: Sequences
    targets_U: IndexArray
    period: Sequences | None = None

    def __len__(self) -> int:
        return len(self.targets_U)

    def sample(self, size: int, *, seed: int) -> "Holdout":
        """Returns a random sample of the users, without replacement.

        Args:
            size: Number of users. A smaller holdout is returned as it is.
            seed: Seed of the sample.
        """
        if size >= len(self):
            return self
        chosen_U = np.zeros(len(self), dtype=np.bool_)
        chosen_U[np.random.default_rng(seed).choice(len(self), size, replace=False)] = True
        period = None if self.period is None else self.period.select(chosen_U)
        return Holdout(self.histories.select(chosen_U), self.targets_U[chosen_U], period)


@dataclass(frozen=True)
class Split:
    """The three parts of a data set.

    Attributes:
        train: The sequences to train on.
        validation: Questions that choose the best weights.
        test: Questions that measure the model.
        is_train_I: Which interactions of the data set are in the training part.
    """

    train: Sequences
    validation: Holdout
    test: Holdout
    is_train_I: NDArray[np.bool_]


def user_sequences(dataset: Dataset) -> Sequences:
    """Returns each user's items, oldest first."""
    user_I = dataset.interactions["user_index"].to_numpy()
    counts_U = np.bincount(user_I)
    parts = {name: dataset.interactions[name].to_numpy() for name in (WEIGHT, TYPE) if name in dataset.interactions}
    return Sequences(
        dataset.interactions["item_index"].to_numpy(),
        np.concatenate([[0], np.cumsum(counts_U)]),
        weights_I=parts.get(WEIGHT),
        types_I=parts.get(TYPE),
    )


def leave_one_out(
    sequences: Sequences, *, held_out_items: int = 2, held_out_users: float = 1.0, seed: int = 0
) -> Split:
    """Holds out the last items of users that they did not dislike.

    With two items, the test histories include the validation item, and the dislikes between the two. Users with too few
    items are in the training part only. All users are, if holding items out would leave nothing to learn from.

    Args:
        sequences: Each user's items, oldest first.
        held_out_items: 2 for test and validation, 1 for test only, 0 for none.
        held_out_users: Share of the users that items are held out from, in [0, 1].
        seed: Seed of the choice of these users.
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
    is_train_I = np.arange(len(sequences.items_I)) < np.repeat(cut_U, sequences.lengths_U)
    validated_U = evaluated_U & (held_out_items > 1)
    test, validation = _asked(sequences, test_U, evaluated_U), _asked(sequences, validation_U, validated_U)
    return Split(train, validation, test, is_train_I)


def can_hold_out(sequences: Sequences, held_out_items: int) -> NDArray[np.bool_]:
    """Returns which users have so many items without dislikes, and an item before them.

    Args:
        sequences: Each user's items, oldest first.
        held_out_items: 0, 1 or 2.
    """
    if not held_out_items:
        return np.zeros(len(sequences), dtype=np.bool_)
    return _last_wanted(sequences)[held_out_items - 1] > sequences.offsets_U[:-1]


def _asked(sequences: Sequences, target_U: NDArray[np.int64], asked_U: NDArray[np.bool_]) -> Holdout:
    """Asks some users about their items at the positions `target_U`."""
    return Holdout(sequences.until(target_U).select(asked_U), sequences.items_I[target_U[asked_U]])


def _last_wanted(sequences: Sequences) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Returns the positions of each row's last and last but one wanted item; a row's start where there is none."""
    begins_U, wanted_I = sequences.offsets_U[:-1], sequences.is_wanted_I
    wanted_W = np.flatnonzero(wanted_I)
    counts_U = np.diff(np.concatenate([[0], np.cumsum(wanted_I)])[sequences.offsets_U])
    ends_U = np.cumsum(counts_U)

    def from_the_end(rank: int) -> NDArray[np.int64]:
        found_U = begins_U.copy()
        found_U[counts_U >= rank] = wanted_W[(ends_U - rank)[counts_U >= rank]]
        return found_U

    return from_the_end(1), from_the_end(2)
