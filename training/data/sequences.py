"""Training batches: windows of items as leaf positions, with the item that follows each.

Shapes: B windows, T history items, I interactions, N items.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rqrec.models.retriever.retriever import PADDING
from rqrec.training.data.dataset import DataError
from rqrec.training.data.splits import Sequences

BATCHES_PER_BUCKET = 16


class SeqBatch(NamedTuple):
    """A batch of windows.

    Attributes:
        history_BT: Leaf positions of the items that are read, int64, padded at the end with -1.
        targets_BT: Leaf position of the item after each, int64, padded at the end with -1.
    """

    history_BT: Tensor
    targets_BT: Tensor

    def to(self, device: torch.device) -> "SeqBatch":
        """Copies the batch to a device."""
        return SeqBatch(self.history_BT.to(device), self.targets_BT.to(device))


def tokenize_sequences(sequences: Sequences, leaf_of_item_N: NDArray[np.int64]) -> Sequences:
    """Replaces every item_index by the leaf position of its semantic ID, which the retriever reads.

    Args:
        sequences: Sequences of item_index.
        leaf_of_item_N: Leaf position by item_index.
    """
    return Sequences(leaf_of_item_N[sequences.items_I].astype(np.int32), sequences.offsets_U)


def move_to_disk(sequences: Sequences, file: Path) -> Sequences:
    """Writes the items to a file. Returns the same sequences, which are read from the file (memory-mapped) when needed.

    Args:
        sequences: The sequences.
        file: A new `.npy` file.
    """
    np.save(file, sequences.items_I)
    return Sequences(np.load(file, mmap_mode="r"), sequences.offsets_U)


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
        self._items_I = sequences.items_I
        self._begins_U, self._ends_U = sequences.offsets_U[:-1][has_target_U], sequences.offsets_U[1:][has_target_U]
        self.max_history, self.batch_size, self.seed = max_history, batch_size, seed
        if not has_target_U.any():
            raise DataError("training needs a user with two items outside the held-out ones, got none: add users")

    def epoch(self, epoch: int) -> Iterator[SeqBatch]:
        """Yields the batches of one epoch, in order."""
        for rows in self._batches(epoch):
            yield self._pad(rows)

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
        return np.stack([first_target - 1, last_target + 1], axis=1)

    def _pad(self, windows: NDArray[np.int64]) -> SeqBatch:
        lengths_B = windows[:, 1] - windows[:, 0] - 1
        steps_T = np.arange(lengths_B.max())
        valid_BT = steps_T < lengths_B[:, None]
        places_BT = np.where(valid_BT, windows[:, :1] + steps_T, 0)
        history_BT = np.where(valid_BT, self._items_I[places_BT], PADDING).astype(np.int64)
        targets_BT = np.where(valid_BT, self._items_I[places_BT + valid_BT], PADDING).astype(np.int64)
        return SeqBatch(torch.from_numpy(history_BT), torch.from_numpy(targets_BT))
