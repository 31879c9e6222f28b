"""The retriever's functions for the training loop: its batches, how a batch is split, and its losses.

Shapes: B windows, T history items, N items, X items of one step.
"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from rqrec.models.retriever.retriever import PADDING, CatalogueTensors, RetrieverOutput, SampledItems
from rqrec.training.data.sequences import SeqBatch, SeqData
from rqrec.training.data.splits import Sequences
from rqrec.training.decoder_settings import DecoderSettings
from rqrec.training.runtime.device import autocast
from rqrec.training.runtime.loop import Work


class DecoderBatch(NamedTuple):
    """A batch of the retriever's training: windows of user sequences, and the candidate items of the relevance loss.

    A batch holds all windows of one optimiser step, or a part of them. Its other attributes are always about the whole
    step, so that all parts of a step are compared with the same candidates.

    Attributes:
        windows: The histories and the next item of each history item.
        items_X: Leaf positions of all items in the step's windows, and of items drawn at random; int64. Items may
            repeat.
        num_targets: Number of next items in the step. With it, the relevance loss corrects for popular items, which are
            among the candidates more often.
        total_weight: Sum of the weights of all next items in the step.
    """

    windows: SeqBatch
    items_X: Tensor
    num_targets: int
    total_weight: float

    @classmethod
    def from_windows(cls, windows: SeqBatch, drawn_X: NDArray[np.int64]) -> "DecoderBatch":
        """Makes the batch of a whole optimiser step.

        Args:
            windows: All windows of the step.
            drawn_X: Leaf positions of the items that were drawn at random as negative examples, each in [0, N).
        """
        read = windows.history_BT[windows.history_BT != PADDING]
        predicted = windows.targets_BT[windows.targets_BT != PADDING]
        items_X = torch.cat([read, predicted, torch.from_numpy(drawn_X)])
        return cls(windows, items_X, len(predicted), _total_weight(windows))

    def split(self, parts: int) -> "list[tuple[DecoderBatch, float]]":
        """Divides the windows among `parts` batches, and returns each of them with its weight.

        The weight of a batch is its share of the step's `total_weight`. No batch may be empty. So if there are fewer
        windows than parts, each batch without a window of its own gets the first window and the weight 0.
        """
        dealt = []
        for part in range(parts):
            is_spare = part >= len(self.windows.history_BT)
            windows = self.windows.rows(slice(1) if is_spare else slice(part, None, parts))
            weight = 0.0 if is_spare else _total_weight(windows) / self.total_weight
            dealt.append((self._replace(windows=windows), weight))
        return dealt

    def to(self, device: torch.device) -> "DecoderBatch":
        """Returns a copy of the batch on a device."""
        return self._replace(windows=self.windows.to(device), items_X=self.items_X.to(device))


def _total_weight(windows: SeqBatch) -> float:
    """Returns the sum of the targets' weights."""
    if windows.weights_BT is None:
        return float((windows.targets_BT != PADDING).sum())
    return float(windows.weights_BT.sum())


def retriever_work(catalogue: CatalogueTensors, tokens: Sequences, settings: DecoderSettings) -> Work[DecoderBatch]:
    """Makes the batches and losses of a retriever's training, for `training.runtime.loop.train`.

    The result has no validation; the caller may add one.

    Args:
        catalogue: The arrays of all items, on the model's device.
        tokens: Training sequences of leaf positions.
        settings: The retriever's sizes, and how it is trained.
    """
    device, num_leaves = catalogue.rows_N.device, len(catalogue.rows_N)
    sequences = SeqData(tokens, max_history=settings.max_history, batch_size=settings.batch_size, seed=settings.seed)

    def batches(epoch: int) -> Iterator[DecoderBatch]:
        for number, windows in enumerate(sequences.epoch(epoch)):
            rng = np.random.default_rng((settings.seed, epoch, number))
            yield DecoderBatch.from_windows(windows, rng.integers(0, num_leaves, settings.negatives))

    def losses(model: nn.Module, batch: DecoderBatch, _done: float) -> Mapping[str, Tensor]:
        batch = batch.to(device)
        sampled = SampledItems.from_batch(batch.items_X, catalogue, targets=batch.num_targets, draws=settings.negatives)
        with autocast(device, enabled=settings.bf16):
            output: RetrieverOutput = model(
                batch.windows.history_BT,
                batch.windows.targets_BT,
                sampled,
                catalogue,
                batch.windows.weights_BT,
                batch.windows.types_BT,
            )
        levels = {f"level_{level}": loss for level, loss in enumerate(output.level_losses_L)}
        parts = {"generation": output.generation_loss, "relevance": output.relevance_loss}
        return {"loss": output.loss, **parts, **levels}

    return Work(sequences.num_batches, batches, losses, split=DecoderBatch.split)
