"""Training batches: windows of items as leaf positions, with the item that follows each.

Shapes: B windows, T history items, I interactions, N items.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rqrec.models.retriever.history_encoder import UNKNOWN_TYPE
from rqrec.models.retriever.retriever import PADDING
from rqrec.training.data.dataset import DataError
from rqrec.training.data.splits import Sequences

BATCHES_PER_BUCKET = 16
# A service may not know the types of a history. A model that saw such windows in training serves both.
UNTYPED_SHARE = 1 / 3
TYPES_STREAM = 1  # of random numbers


class SeqBatch(NamedTuple):
    """A batch of windows.

    Attributes:
        history_BT: Leaf positions of the items that are read, int64, padded at the end with -1.
        targets_BT: Leaf position of the item after each, int64; -1 if there is none, or it is never a target.
        weights_BT: Weight of each target, float32; None if all are 1.
        types_BT: Event type of each item that is read, int64, 0 for unknown; None if the data has none.
    """

    history_BT: Tensor
    targets_BT: Tensor
    weights_BT: Tensor | None = None
    types_BT: Tensor | None = None

    def to(self, device: torch.device) -> "SeqBatch":
        """Copies the batch to a device."""
        return self._map(lambda array: array.to(device))

    def rows(self, chosen: slice) -> "SeqBatch":
        """Returns some of the windows."""
        return self._map(lambda array: array[chosen])

    def _map(self, change: Callable[[Tensor], Tensor]) -> "SeqBatch":
        weights_BT = None if self.weights_BT is None else change(self.weights_BT)
        types_BT = None if self.types_BT is None else change(self.types_BT)
        return SeqBatch(change(self.history_BT), change(self.targets_BT), weights_BT, types_BT)


def tokenize_sequences(sequences: Sequences, leaf_of_item_N: NDArray[np.int64]) -> Sequences:
    """Replaces every item_index by the leaf position of its semantic ID, which the retriever reads.

    Args:
        sequences: Sequences of item_index.
        leaf_of_item_N: Leaf position by item_index.
    """
    return replace(sequences, items_I=leaf_of_item_N[sequences.items_I].astype(np.int32))


def move_to_disk(sequences: Sequences, file: Path) -> Sequences:
    """Writes the items to files. Returns the same sequences, which are read from disk (memory-mapped) when needed.

    Args:
        sequences: The sequences.
        file: A new `.npy` file for the items. Weights and types, if there are any, are written beside it.
    """
    stored = {}
    for name in ("items_I", "weights_I", "types_I"):
        array = getattr(sequences, name)
        if array is not None:
            path = file if name == "items_I" else file.with_stem(f"{file.stem}-{name}")
            np.save(path, array)
            stored[name] = np.load(path, mmap_mode="r")
    return replace(sequences, **stored)


class SeqData:
    """Cuts sequences into windows and serves them in batches. The batches depend on the seed and the epoch only.

    A sequence that is longer than a window is cut at a position that changes every epoch. So every item is a target
    once an epoch, in changing contexts. Windows of similar length share a batch.

    Args:
        sequences: Sequences of leaf positions, oldest first.
        max_history: T, the largest number of items that a window reads.
        batch_size: B, windows in a batch.
        seed: Seed of the cuts and the order.

    Raises:
        DataError: If no sequence has two items.
    """

    def __init__(self, sequences: Sequences, *, max_history: int, batch_size: int, seed: int) -> None:
        has_target_U = sequences.lengths_U >= 2
        self._sequences = sequences
        self._begins_U, self._ends_U = sequences.offsets_U[:-1][has_target_U], sequences.offsets_U[1:][has_target_U]
        self.max_history, self.batch_size, self.seed = max_history, batch_size, seed
        if not sequences.has_target:
            raise DataError("training needs a user with two items outside the held-out ones, got none: add users")
        # With fewer targets than items, the number of targets before each item tells which windows have any.
        self._targets_before_I = None
        if sequences.weights_I is not None:
            self._targets_before_I = np.concatenate([[0], np.cumsum(sequences.is_wanted_I)])

    def epoch(self, epoch: int) -> Iterator[SeqBatch]:
        """Yields the batches of one epoch, in order."""
        types_rng = np.random.default_rng((self.seed, epoch, TYPES_STREAM))
        for rows in self._batches(epoch):
            yield self._pad(rows, types_rng)

    def num_batches(self, epoch: int) -> int:
        """Returns the number of batches in an epoch. It can differ slightly between epochs, because the cuts change."""
        return len(self._batches(epoch))

    def _batches(self, epoch: int) -> list[NDArray[np.int64]]:
        rng = np.random.default_rng((self.seed, epoch))
        windows = rng.permutation(self._windows(rng))
        bucket = self.batch_size * BATCHES_PER_BUCKET
        batches = []
        for begin in range(0, len(windows), bucket):
            part = windows[begin : begin + bucket]
            part = part[np.argsort(part[:, 1] - part[:, 0], kind="stable")]
            batches += [part[i : i + self.batch_size] for i in range(0, len(part), self.batch_size)]
        return [batches[i] for i in rng.permutation(len(batches))]

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
        windows = np.stack([first_target - 1, last_target + 1], axis=1)
        if self._targets_before_I is None:
            return windows
        before_I = self._targets_before_I
        return np.asarray(windows[before_I[last_target + 1] > before_I[first_target]])

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
