"""The leave-one-out split: each user's last item is for test, the one before for validation, the rest for training.

Shapes: U users, I interactions.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rqrec.training.data.dataset import Dataset

MIN_ITEMS_TO_EVALUATE = 3
MIN_ITEMS_TO_LEARN = 2
IndexArray = NDArray[np.int32]


@dataclass(frozen=True)
class Sequences:
    """Rows of item_index of any length, one row a user, oldest item first.

    Attributes:
        items_I: All rows one after the other, int32.
        offsets_U: Start of each row, and the end of the last one, int64, shape (U + 1,).
    """

    items_I: IndexArray
    offsets_U: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.offsets_U) - 1

    def __getitem__(self, row: int) -> IndexArray:
        return self.items_I[self.offsets_U[row] : self.offsets_U[row + 1]]

    @property
    def lengths_U(self) -> NDArray[np.int64]:
        """Number of items in each row."""
        return np.diff(self.offsets_U)

    def pairs(self, distance: int) -> tuple[IndexArray, IndexArray]:
        """Returns all pairs of items of one row at this distance: the earlier items, and the later items."""
        row_I = np.repeat(np.arange(len(self)), self.lengths_U)
        same = row_I[:-distance] == row_I[distance:]
        return self.items_I[:-distance][same], self.items_I[distance:][same]

    def without_last(self, count: int) -> "Sequences":
        """Returns the rows without their last `count` items. Each row must have at least that many."""
        lengths_U = self.lengths_U - count
        keep_I = np.arange(len(self.items_I)) < np.repeat(self.offsets_U[1:] - count, self.lengths_U)
        return Sequences(self.items_I[keep_I], np.concatenate([[0], np.cumsum(lengths_U)]))

    def select(self, keep_U: NDArray[np.bool_]) -> "Sequences":
        """Returns the rows where `keep_U` is true."""
        keep_I = np.repeat(keep_U, self.lengths_U)
        return Sequences(self.items_I[keep_I], np.concatenate([[0], np.cumsum(self.lengths_U[keep_U])]))


@dataclass(frozen=True)
class Holdout:
    """Questions to a recommender: after row u of `histories`, does it recommend item `targets_U[u]`?"""

    histories: Sequences
    targets_U: IndexArray

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
        return Holdout(self.histories.select(chosen_U), self.targets_U[chosen_U])


@dataclass(frozen=True)
class LeaveOneOut:
    """The three parts of the split. Users with fewer than three items are in the training part only.

    All users are in the training part only if holding items out would leave no user with two items to learn from.
    """

    train: Sequences
    validation: Holdout
    test: Holdout


def user_sequences(dataset: Dataset) -> Sequences:
    """Returns each user's items, oldest first."""
    user_I = dataset.interactions["user_index"].to_numpy()
    counts_U = np.bincount(user_I)
    return Sequences(dataset.interactions["item_index"].to_numpy(), np.concatenate([[0], np.cumsum(counts_U)]))


def leave_one_out(sequences: Sequences) -> LeaveOneOut:
    """Splits sequences. The test histories include the validation item."""
    evaluated_U = sequences.lengths_U >= MIN_ITEMS_TO_EVALUATE
    evaluated_U &= (sequences.lengths_U - 2 * evaluated_U).max(initial=0) >= MIN_ITEMS_TO_LEARN
    asked = sequences.select(evaluated_U)
    last_U = asked.offsets_U[1:]
    test = Holdout(asked.without_last(1), asked.items_I[last_U - 1])
    validation = Holdout(asked.without_last(2), asked.items_I[last_U - 2])
    held_out_I = np.zeros(len(sequences.items_I), dtype=np.bool_)
    ends_U = sequences.offsets_U[1:][evaluated_U]
    held_out_I[ends_U - 1] = held_out_I[ends_U - 2] = True
    lengths_U = sequences.lengths_U - 2 * evaluated_U
    train = Sequences(sequences.items_I[~held_out_I], np.concatenate([[0], np.cumsum(lengths_U)]))
    return LeaveOneOut(train, validation, test)
