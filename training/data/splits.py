"""User sequences, and what a split divides them into: sequences to train on, and cases for validation and test.

Shapes: U users, I interactions, S stored interactions.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any, NamedTuple, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from rqrec.training.data.compact.counts import counts_of
from rqrec.training.data.compact.sections import in_sections
from rqrec.training.data.dataset import TIMESTAMP, TYPE, WEIGHT, Dataset
from rqrec.training.data.splitting.time_unit import whole_seconds

MIN_ITEMS_TO_LEARN = 2
ITEMS_AT_ONCE = 1_000_000  # about
IndexArray = NDArray[np.int32]
ScalarT = TypeVar("ScalarT", bound=np.generic)


class FlatArrays(NamedTuple):
    """Arrays in which sequences are stored: one entry for each of S stored interactions.

    Attributes:
        items_I: The item, int32.
        weights_I: Its weight as a training target, float32; None if every item has the weight 1.
        types_I: The number of its event type, int8; None if the data has no event types.
        times_I: When the user chose it, in whole seconds since 1970, int64; None if the data has no such times.
    """

    items_I: IndexArray
    weights_I: NDArray[np.float32] | None = None
    types_I: NDArray[np.int8] | None = None
    times_I: NDArray[np.int64] | None = None


@dataclass(frozen=True)
class Sequences:
    """The item sequences of all users. Row u is the sequence of user u, oldest item first.

    Rows can have any length, also 0. An item is an integer: its item_index (its row number in the items table), or,
    where a docstring says so, its leaf position (the index of its semantic ID among the leaves of the trie).

    A part of some sequences (`until`, `select`, `blocks`) reads its rows in the stored arrays of the whole, because
    copies of large data would not fit in memory. Its own flat arrays (`items_I` and the others) are copies that are
    made when they are first read.

    Attributes:
        stored: The arrays that have the rows, and maybe other interactions between them.
        begins_U: Where each row begins in the stored arrays, ascending, int64.
        lengths_U: The number of items in each row, int64.
    """

    stored: FlatArrays
    begins_U: NDArray[np.int64]
    lengths_U: NDArray[np.int64]

    @classmethod
    def from_arrays(
        cls,
        items_I: IndexArray,
        offsets_U: NDArray[np.int64],
        weights_I: NDArray[np.float32] | None = None,
        types_I: NDArray[np.int8] | None = None,
        times_I: NDArray[np.int64] | None = None,
    ) -> Self:
        """Makes sequences from flat arrays, which are not copied.

        Args:
            items_I: The items of all rows, one row after the other, int32.
            offsets_U: Row u is `items_I[offsets_U[u] : offsets_U[u + 1]]`; int64, shape (U + 1,).
            weights_I: Weight of each item as a training target, float32; 0 for an item that must not be a target, such
                as a dislike. None if every item has the weight 1.
            types_I: Number of each item's event type, int8; 0 for unknown. None if the data has no event types.
            times_I: When the user chose each item, in whole seconds since 1970, int64; never earlier than the item
                before. None if the data has no such times.
        """
        return cls(FlatArrays(items_I, weights_I, types_I, times_I), offsets_U[:-1], np.diff(offsets_U))

    def with_arrays(self, **arrays: NDArray[Any] | None) -> "Sequences":
        """Returns the same rows with other flat arrays, such as `weights_I`, in place of those that these have."""
        flat = (arrays[name] if name in arrays else getattr(self, name) for name in FlatArrays._fields)
        return Sequences(FlatArrays._make(flat), self.offsets_U[:-1], self.lengths_U)

    def __len__(self) -> int:
        return len(self.begins_U)

    def __getitem__(self, row: int) -> IndexArray:
        return self.stored.items_I[self._place(row)]

    def _place(self, row: int) -> slice:
        return slice(begin := self.begins_U[row], begin + self.lengths_U[row])

    @cached_property
    def offsets_U(self) -> NDArray[np.int64]:
        """Where each row begins in the flat arrays, and where the last one ends, int64, shape (U + 1,)."""
        return np.concatenate([[0], np.cumsum(self.lengths_U)])

    @cached_property
    def items_I(self) -> IndexArray:
        """The items of all rows, one row after the other, int32, shape (I,)."""
        return self._flat(self.stored.items_I)

    @cached_property
    def weights_I(self) -> NDArray[np.float32] | None:
        """The weight of each item of `items_I`, as in `stored`."""
        return None if self.stored.weights_I is None else self._flat(self.stored.weights_I)

    @cached_property
    def types_I(self) -> NDArray[np.int8] | None:
        """The number of the event type of each item of `items_I`, as in `stored`."""
        return None if self.stored.types_I is None else self._flat(self.stored.types_I)

    @cached_property
    def times_I(self) -> NDArray[np.int64] | None:
        """When the user chose each item of `items_I`, as in `stored`."""
        return None if self.stored.times_I is None else self._flat(self.stored.times_I)

    def _flat(self, array_S: NDArray[ScalarT]) -> NDArray[ScalarT]:
        """The entries of the rows in a stored array: the array itself if it has nothing else, or a copy."""
        if not len(self):
            return array_S[:0]
        first, end = int(self.begins_U[0]), int(self.begins_U[-1] + self.lengths_U[-1])
        within_S = array_S[first:end]
        if end - first == self.offsets_U[-1]:
            return within_S
        return np.asarray(within_S)[in_sections(self.begins_U - first, self.lengths_U, end - first)]

    def types_of(self, row: int) -> NDArray[np.int64]:
        """Returns the event type of each item in row `row`, int64; 0 (unknown) if the data has no event types."""
        types_S = self.stored.types_I
        if types_S is None:
            return np.zeros(self.lengths_U[row], dtype=np.int64)
        return types_S[self._place(row)].astype(np.int64)

    @property
    def is_wanted_I(self) -> NDArray[np.bool_]:
        """Whether each item may be a training target, shape (I,). A dislike may not."""
        return np.ones(len(self.items_I), dtype=np.bool_) if self.weights_I is None else self.weights_I > 0

    @property
    def has_target(self) -> bool:
        """Whether at least one user's sequence has a training target: an item after the first that is not a dislike."""
        is_wanted_I = self.is_wanted_I.copy()
        is_wanted_I[self.offsets_U[:-1][self.lengths_U > 0]] = False
        return bool(is_wanted_I.any())

    @property
    def rows_I(self) -> NDArray[np.int64]:
        """For each item, the row (number of the user) whose sequence contains it; int64, shape (I,)."""
        return np.repeat(np.arange(len(self)), self.lengths_U)

    def pairs(self, distance: int) -> tuple[IndexArray, IndexArray]:
        """Returns all pairs of items that are `distance` steps apart in the sequence of the same user.

        The result is two arrays of equal length: the earlier item and the later item of each pair.
        """
        row_I = self.rows_I
        same = row_I[:-distance] == row_I[distance:]
        return self.items_I[:-distance][same], self.items_I[distance:][same]

    def until(self, ends_U: NDArray[np.int64]) -> "Sequences":
        """Returns the sequences of all users, each without its items from a given position on.

        Args:
            ends_U: This position for each user: the index in `items_I` of the first item to leave out, int64,
                shape (U,).
        """
        return Sequences(self.stored, self.begins_U, ends_U - self.offsets_U[:-1])

    def select(self, keep_U: NDArray[np.bool_]) -> "Sequences":
        """Returns the sequences of only those users for whom `keep_U`, shape (U,), is true."""
        return Sequences(self.stored, self.begins_U[keep_U], self.lengths_U[keep_U])

    def blocks(self) -> Iterator["Sequences"]:
        """Yields the sequences of the first users, then those of the next ones: about a million items at a time."""
        ends = np.arange(0, self.offsets_U[-1], ITEMS_AT_ONCE)[1:]
        for begin, end in pairwise([0, *np.unique(np.searchsorted(self.offsets_U, ends)), len(self)]):
            yield Sequences(self.stored, self.begins_U[begin:end], self.lengths_U[begin:end])

    def only(self, keep_I: NDArray[np.bool_]) -> "Sequences":
        """Returns the sequences of all users, with only those items for which `keep_I`, shape (I,), is true."""
        flat = (getattr(self, name) for name in FlatArrays._fields)
        kept = FlatArrays._make(None if array_I is None else array_I[keep_I] for array_I in flat)
        offsets_U = np.concatenate([[0], np.cumsum(keep_I)])[self.offsets_U]
        return Sequences(kept, offsets_U[:-1], np.diff(offsets_U))


@dataclass(frozen=True)
class Holdout:
    """Test cases for a recommender, one per user: given the history in row u, it should recommend `targets_U[u]`.

    Attributes:
        histories: The items of each user before the target, oldest first.
        targets_U: The item_index of each user's next item, int32, shape (U,).
        period: In a split by time, all items that each user chose in the validation or test period, without dislikes.
            In other splits None.
        times_U: When each user chose the target, in whole seconds since 1970, int64, shape (U,). None if the data has
            no such times.
    """

    histories: Sequences
    targets_U: IndexArray
    period: Sequences | None = None
    times_U: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.targets_U)

    def sample(self, size: int, *, seed: int) -> "Holdout":
        """Returns the test cases of randomly chosen users, without replacement.

        Args:
            size: Number of users to choose. If there are not more users than this, all are returned.
            seed: Seed of the sample.
        """
        if size >= len(self):
            return self
        chosen_U = np.zeros(len(self), dtype=np.bool_)
        chosen_U[np.random.default_rng(seed).choice(len(self), size, replace=False)] = True
        period = None if self.period is None else self.period.select(chosen_U)
        times_U = None if self.times_U is None else self.times_U[chosen_U]
        return Holdout(self.histories.select(chosen_U), self.targets_U[chosen_U], period, times_U)


@dataclass(frozen=True)
class Split:
    """A data set that is divided into training, validation and test.

    Attributes:
        train: The sequences to train on.
        validation: The cases on which training measures its progress, to keep the best weights. It may be empty.
        test: The cases on which the trained model is measured. It may be empty.
        is_train_I: For each interaction of the data set, whether it is in the training part.
    """

    train: Sequences
    validation: Holdout
    test: Holdout
    is_train_I: NDArray[np.bool_]


def user_sequences(dataset: Dataset) -> Sequences:
    """Returns the item sequence of every user in a data set, oldest first, with weights, event types and times."""
    counts_U = counts_of(dataset.interactions["user_index"].to_numpy())
    parts = {name: dataset.interactions[name].to_numpy() for name in (WEIGHT, TYPE) if name in dataset.interactions}
    return Sequences.from_arrays(
        dataset.interactions["item_index"].to_numpy(),
        np.concatenate([[0], np.cumsum(counts_U)]),
        weights_I=parts.get(WEIGHT),
        types_I=parts.get(TYPE),
        times_I=whole_seconds(dataset.interactions[TIMESTAMP].to_numpy()),
    )
