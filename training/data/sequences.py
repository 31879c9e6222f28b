"""Makes training batches: windows of user sequences, in which the target of each item is the item after it.

Items are leaf positions: the index of an item's semantic ID among the sorted leaves of the trie.

Shapes: B windows, T history items, I interactions, N items.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rqrec.models.array_file import write_array
from rqrec.models.retriever.history_encoder import UNKNOWN_TYPE
from rqrec.models.retriever.retriever import PADDING
from rqrec.training.data.dataset import DataError
from rqrec.training.data.splits import Sequences

BATCHES_PER_BUCKET = 16
# A service may not know the types of a history. A model that saw such windows in training serves both.
UNTYPED_SHARE = 1 / 3
TYPES_STREAM, CROPS_STREAM = 1, 2  # of random numbers


class SeqBatch(NamedTuple):
    """A batch of windows: sections of user sequences, with the next item of each item as its target.

    Attributes:
        history_BT: The items that the model reads, as leaf positions in the trie; int64, padded at the end with -1.
        targets_BT: For each item of `history_BT`, the leaf position of the next item, int64; -1 for no target, for
            example if the next item is a dislike.
        weights_BT: Weight of each target in the loss, float32; None if all weights are 1.
        types_BT: Number of each item's event type, int64, 0 for unknown; None if the data has no event types. In about
            a third of the windows, chosen at random, all types are 0, so that the model also learns to read histories
            without types.
    """

    history_BT: Tensor
    targets_BT: Tensor
    weights_BT: Tensor | None = None
    types_BT: Tensor | None = None

    def to(self, device: torch.device) -> "SeqBatch":
        """Returns a copy of the batch on a device."""
        return self._map(lambda array: array.to(device))

    def rows(self, chosen: slice) -> "SeqBatch":
        """Returns a batch with only the windows that a slice selects."""
        return self._map(lambda array: array[chosen])

    def _map(self, change: Callable[[Tensor], Tensor]) -> "SeqBatch":
        weights_BT = None if self.weights_BT is None else change(self.weights_BT)
        types_BT = None if self.types_BT is None else change(self.types_BT)
        return SeqBatch(change(self.history_BT), change(self.targets_BT), weights_BT, types_BT)


def tokenize_sequences(sequences: Sequences, leaf_of_item_N: NDArray[np.int64]) -> Sequences:
    """Replaces every item_index by a leaf position: the index of the item's semantic ID among the trie's leaves.

    Args:
        sequences: Sequences of item_index (row numbers in the items table).
        leaf_of_item_N: The leaf position of each item, by item_index, shape (N,).

    Returns:
        The sequences of leaf positions, which the retriever reads. They have no times, which it does not read.
    """
    leaf_of_item_N, leaves_I = leaf_of_item_N.astype(np.int32), np.empty(sequences.offsets_U[-1], dtype=np.int32)
    begin = 0
    for block in sequences.blocks():
        leaves_I[begin : begin + len(block.items_I)] = leaf_of_item_N[block.items_I]
        begin += len(block.items_I)
    return sequences.with_arrays(items_I=leaves_I, times_I=None)


def move_to_disk(sequences: Sequences, file: Path) -> Sequences:
    """Writes sequences to files, and returns the same sequences as memory-mapped arrays, to save memory.

    Args:
        sequences: The sequences to write.
        file: Path of a new `.npy` file for the items. Weights and event types get files beside it, if there are any.
    """
    stored = {}
    for name in ("items_I", "weights_I", "types_I"):
        array = getattr(sequences, name)
        if array is not None:
            path = file if name == "items_I" else file.with_stem(f"{file.stem}-{name}")
            write_array(path, array)
            stored[name] = np.load(path, mmap_mode="r")
    return sequences.with_arrays(**stored)


class SeqData:
    """Cuts user sequences into windows of at most T items, and yields them in batches.

    A sequence that is too long for one window is cut at places that change every epoch. So each item has
    another history in each epoch. Every item is a target once an epoch, except dislikes, the first item of a
    sequence, and what crops cut off. The same seed and epoch always give the same batches.

    Windows of similar length share a batch, so that little is padded. Batches of short windows have more windows: all
    batches have about the same number of targets. The loss of a batch is a mean, so otherwise a target in a short
    window would count several times as much as one in a long window (docs/experiments.md). A batch has `batch_size`
    windows on average, or fewer if these have more than `batch_targets` targets.

    A crop cuts off the oldest items of a window. It begins at an item before the last target, each with the same
    probability, so at least one target stays. Without its oldest items, the model leans less on what it remembers of a
    user, and more on the last items. The windows that are cropped are drawn anew every epoch.

    Args:
        sequences: Training sequences of leaf positions, oldest first.
        max_history: T, the largest number of history items in a window.
        batch_size: B, the largest number of windows in a batch, on average.
        seed: Seed of the cuts, of the crops and of the order of the windows.
        batch_targets: The largest number of targets in a batch, on average; None for any number.
        crop_share: Share of the windows that are cropped, in [0, 1].

    Raises:
        DataError: If no sequence has a target: an item after the first that is not a dislike.
    """

    def __init__(
        self,
        sequences: Sequences,
        *,
        max_history: int,
        batch_size: int,
        seed: int,
        batch_targets: int | None = None,
        crop_share: float = 0.0,
    ) -> None:
        has_target_U = sequences.lengths_U >= 2
        self._sequences = sequences
        self._begins_U, self._ends_U = sequences.offsets_U[:-1][has_target_U], sequences.offsets_U[1:][has_target_U]
        self.max_history, self.batch_size, self.batch_targets = max_history, batch_size, batch_targets
        self.seed, self.crop_share = seed, crop_share
        if not sequences.has_target:
            raise DataError("training needs a user with two items outside the held-out ones, got none: add users")
        # With fewer targets than items, the number of targets before each item tells which windows have any.
        self._targets_before_I = None
        if sequences.weights_I is not None:
            is_wanted_I = sequences.is_wanted_I
            index = np.min_scalar_type(len(is_wanted_I))  # four bytes an item, or fewer
            self._targets_before_I = np.zeros(len(is_wanted_I) + 1, dtype=index)
            np.cumsum(is_wanted_I, out=self._targets_before_I[1:])

    def epoch(self, epoch: int) -> Iterator[SeqBatch]:
        """Yields all batches of one epoch, in their order. The first epoch is 0."""
        types_rng = np.random.default_rng((self.seed, epoch, TYPES_STREAM))
        for rows in self._batches(epoch):
            yield self._pad(rows, types_rng)

    def num_batches(self, epoch: int) -> int:
        """Returns the number of batches in an epoch. It can differ slightly between epochs, because the cuts change."""
        return len(self._batches(epoch))

    def _batches(self, epoch: int) -> list[NDArray[np.int64]]:
        rng = np.random.default_rng((self.seed, epoch))
        windows = self._windows(rng)
        windows = windows[self._targets(windows) > 0]
        windows = rng.permutation(self._crop(windows, np.random.default_rng((self.seed, epoch, CROPS_STREAM))))
        bucket = self.batch_size * BATCHES_PER_BUCKET
        batches = []
        for begin in range(0, len(windows), bucket):
            batches += self._cut(windows[begin : begin + bucket])
        return [batches[i] for i in rng.permutation(len(batches))]

    def _cut(self, windows: NDArray[np.int64]) -> list[NDArray[np.int64]]:
        """Sorts windows by length, and cuts them into batches of about the same number of targets."""
        windows = windows[np.argsort(windows[:, 1] - windows[:, 0], kind="stable")]
        targets = self._targets(windows)
        ends = np.cumsum(targets)
        batches = max(len(windows) / self.batch_size, ends[-1] / (self.batch_targets or np.inf))
        per_batch = ends[-1] / np.ceil(batches)
        batch_of_window = ((ends - targets / 2) / per_batch).astype(np.int64)
        return np.split(windows, np.flatnonzero(np.diff(batch_of_window)) + 1)

    def _windows(self, rng: np.random.Generator) -> NDArray[np.int64]:
        """Returns ranges [first, end) of items_I, each of at most T + 1 items. Neighbouring ranges share one item."""
        begins_U, ends_U = self._begins_U, self._ends_U
        span = self.max_history
        is_long_U = ends_U - begins_U > span + 1
        phases_U = np.where(is_long_U, rng.integers(1, span + 1, len(begins_U)), span)
        # The first window has `phase` targets, the following ones have T, and the last has the rest.
        counts_U = 1 + np.maximum(-((begins_U + 1 + phases_U - ends_U) // span), 0)
        number = np.arange(counts_U.sum()) - np.repeat(np.cumsum(counts_U) - counts_U, counts_U)
        begins, ends, phases = (np.repeat(x, counts_U) for x in (begins_U, ends_U, phases_U))
        last_target = np.minimum(begins + phases + number * span, ends - 1)
        first_target = np.where(number == 0, begins + 1, begins + phases + (number - 1) * span + 1)
        return np.stack([first_target - 1, last_target + 1], axis=1)

    def _crop(self, windows: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
        """Returns the windows, some of them without their oldest items. Each keeps its last target and an item before.

        Args:
            windows: Ranges of items_I that have a target.
            rng: Draws which windows are cropped, and where they begin.
        """
        begins, ends = windows.T
        is_cropped = rng.random(len(windows)) < self.crop_share
        crops = rng.integers(begins, self._last_targets(windows))
        return np.stack([np.where(is_cropped, crops, begins), ends], axis=1)

    def _last_targets(self, windows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Returns the position of the last target in each window, which has one."""
        last = windows[:, 1] - 1
        if (weights_I := self._sequences.weights_I) is not None:
            while len(missed := np.flatnonzero(weights_I[last] == 0)):
                last[missed] -= 1
        return last

    def _targets(self, windows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Returns the number of targets of each window: items after the first that are no dislikes."""
        begins, ends = windows.T
        if self._targets_before_I is None:
            return np.asarray(ends - begins - 1)
        targets = self._targets_before_I[ends] - self._targets_before_I[begins + 1]
        return np.asarray(targets, dtype=np.int64)

    def _pad(self, windows: NDArray[np.int64], types_rng: np.random.Generator) -> SeqBatch:
        lengths_B = windows[:, 1] - windows[:, 0] - 1
        steps_T = np.arange(lengths_B.max())
        valid_BT = steps_T < lengths_B[:, None]
        places_BT = np.where(valid_BT, windows[:, :1] + steps_T, 0)
        items_I, weights_I, types_I = (getattr(self._sequences, name) for name in ("items_I", "weights_I", "types_I"))
        history_BT = np.where(valid_BT, items_I[places_BT], PADDING).astype(np.int64)
        weights = types = None
        if weights_I is not None:
            weights_BT = np.where(valid_BT, weights_I[places_BT + valid_BT], 0)
            valid_BT = weights_BT > 0
            weights = torch.from_numpy(weights_BT)
        targets_BT = np.where(valid_BT, items_I[places_BT + valid_BT], PADDING).astype(np.int64)
        if types_I is not None:
            is_typed_BT = (history_BT != PADDING) & (types_rng.random((len(windows), 1)) >= UNTYPED_SHARE)
            types = torch.from_numpy(np.where(is_typed_BT, types_I[places_BT], UNKNOWN_TYPE).astype(np.int64))
        return SeqBatch(torch.from_numpy(history_BT), torch.from_numpy(targets_BT), weights, types)
