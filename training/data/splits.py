"""User sequences, and the leave-one-out split: a user's last item is for test, the item before it for validation.

Dislikes are not held out: the two items are the last ones that the user did not dislike.

Shapes: U users, I interactions.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from rqrec.training.data.compact.counts import counts_of
from rqrec.training.data.compact.sections import in_sections
from rqrec.training.data.dataset import TIMESTAMP, TYPE, WEIGHT, Dataset
from rqrec.training.data.splitting.time_unit import whole_seconds

MIN_ITEMS_TO_LEARN = 2
ITEMS_AT_ONCE = 1_000_000  # about
IndexArray = NDArray[np.int32]


@dataclass(frozen=True)
class Sequences:
    """The item sequences of all users, stored in flat arrays. Row u is the sequence of user u, oldest item first.

    Rows can have any length, also 0. An item is an integer: its item_index (its row number in the items table), or,
    where a docstring says so, its leaf position (the index of its semantic ID among the leaves of the trie).

    Attributes:
        items_I: The items of all rows, one row after the other, int32.
        offsets_U: Row u is `items_I[offsets_U[u] : offsets_U[u + 1]]`; int64, shape (U + 1,).
        weights_I: Weight of each item as a training target, float32; 0 for an item that must not be a target, such as a
            dislike. None if every item has the weight 1.
        types_I: Number of each item's event type, int8; 0 for unknown. None if the data has no event types.
        times_I: When the user chose each item, in whole seconds since 1970, int64; never earlier than the item before.
            None if the data has no such times.
    """

    items_I: IndexArray
    offsets_U: NDArray[np.int64]
    weights_I: NDArray[np.float32] | None = None
    types_I: NDArray[np.int8] | None = None
    times_I: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.offsets_U) - 1

    def __getitem__(self, row: int) -> IndexArray:
        return self._source.items_I[self._place(row)]

    @property
    def _source(self) -> "Sequences":
        """The sequences whose arrays hold the rows: these, or those of which they are a part."""
        return cast("Sequences", self.__dict__.get("_whole", self))

    @property
    def _begins_U(self) -> NDArray[np.int64]:
        """Where each row begins in the arrays of `_source`, shape (U,)."""
        return cast("NDArray[np.int64]", self.__dict__.get("_begins", self.offsets_U[:-1]))

    def _place(self, row: int) -> slice:
        return slice(begin := self._begins_U[row], begin + self.offsets_U[row + 1] - self.offsets_U[row])

    @property
    def lengths_U(self) -> NDArray[np.int64]:
        """Number of items in each user's sequence, shape (U,)."""
        return np.diff(self.offsets_U)

    def types_of(self, row: int) -> NDArray[np.int64]:
        """Returns the event type of each item in row `row`, int64; 0 (unknown) if the data has no event types."""
        place, types_I = self._place(row), self._source.types_I
        return (
            np.zeros(place.stop - place.start, dtype=np.int64) if types_I is None else types_I[place].astype(np.int64)
        )

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
        return _Sections.of(self._source, self._begins_U, ends_U - self.offsets_U[:-1])

    def select(self, keep_U: NDArray[np.bool_]) -> "Sequences":
        """Returns the sequences of only those users for whom `keep_U`, shape (U,), is true."""
        return _Sections.of(self._source, self._begins_U[keep_U], self.lengths_U[keep_U])

    def blocks(self) -> Iterator["Sequences"]:
        """Yields the sequences of the first users, then those of the next ones: about a million items at a time."""
        ends = np.arange(0, self.offsets_U[-1], ITEMS_AT_ONCE)[1:]
        for begin, end in pairwise([0, *np.unique(np.searchsorted(self.offsets_U, ends)), len(self)]):
            yield _Sections.of(self._source, self._begins_U[begin:end], self.lengths_U[begin:end])

    def only(self, keep_I: NDArray[np.bool_]) -> "Sequences":
        """Returns the sequences of all users, with only those items for which `keep_I`, shape (I,), is true."""
        weights_I = None if self.weights_I is None else self.weights_I[keep_I]
        types_I = None if self.types_I is None else self.types_I[keep_I]
        times_I = None if self.times_I is None else self.times_I[keep_I]
        offsets_U = np.concatenate([[0], np.cumsum(keep_I)])[self.offsets_U]
        return Sequences(self.items_I[keep_I], offsets_U, weights_I, types_I, times_I)


class _Sections(Sequences):
    """The first items of some rows of other sequences. An array is copied when it is first read; most never are."""

    @classmethod
    def of(cls, source: Sequences, begins_U: NDArray[np.int64], lengths_U: NDArray[np.int64]) -> "_Sections":
        """Takes from `source` the items of U rows, at `begins_U` (ascending) and the `lengths_U` positions behind."""
        sections = object.__new__(cls)
        offsets_U = np.concatenate([[0], np.cumsum(lengths_U)])
        vars(sections).update(offsets_U=offsets_U, _whole=source, _begins=begins_U)
        return sections

    items_I = cached_property(lambda self: self._copy("items_I"))
    weights_I = cached_property(lambda self: self._copy("weights_I"))
    types_I = cached_property(lambda self: self._copy("types_I"))
    times_I = cached_property(lambda self: self._copy("times_I"))

    def _copy(self, name: str) -> NDArray[Any] | None:
        if (array_I := getattr(self._source, name)) is None or not len(self):
            return array_I if array_I is None else array_I[:0]
        first, lengths_U = int(self._begins_U[0]), self.lengths_U
        end = int(self._begins_U[-1] + lengths_U[-1])
        return np.asarray(array_I[first:end])[in_sections(self._begins_U - first, lengths_U, end - first)]


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
    return Sequences(
        dataset.interactions["item_index"].to_numpy(),
        np.concatenate([[0], np.cumsum(counts_U)]),
        weights_I=parts.get(WEIGHT),
        types_I=parts.get(TYPE),
        times_I=whole_seconds(dataset.interactions[TIMESTAMP].to_numpy()),
    )


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
