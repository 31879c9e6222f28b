"""Trains a retriever: its batches, how a batch is split, its losses, and the schedule of its training.

Shapes: B windows, T history items, N items, X candidate items of one step.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from rqrec.models.retriever.catalogue_tensors import CatalogueTensors
from rqrec.models.retriever.retriever import PADDING, Retriever, RetrieverOutput
from rqrec.models.retriever.sampled_items import SampledItems
from rqrec.training.data.sequences import SeqBatch, SeqData, move_to_disk
from rqrec.training.data.splits import Sequences
from rqrec.training.retriever.decoder_settings import DecoderSettings
from rqrec.training.runtime.device import autocast
from rqrec.training.runtime.loop import Work, train
from rqrec.training.runtime.schedule import Schedule


class DecoderBatch(NamedTuple):
    """A batch of the retriever's training: windows (sections of user sequences), and candidates of the relevance loss.

    A batch holds all windows of one optimiser step, or a part of them. Its other attributes are always about the whole
    step, so that the relevance loss has the same candidates in all parts of a step. An item is given by its leaf
    position: the number of its leaf in the trie of semantic IDs. The short-term encoder is trained on such batches too;
    there, an item is given by its item_index.

    Attributes:
        windows: The items of each window, and as the target of each item the item that follows it.
        items_X: The candidates, among which the relevance loss compares a target with other items: all items in the
            step's windows, and items drawn at random. Leaf positions, int64; items may repeat.
        num_targets: Number of targets in the step. With it, the relevance loss corrects for popular items, which are
            among the candidates more often.
        total_weight: Sum of the loss weights of all targets in the step.
    """

    windows: SeqBatch
    items_X: Tensor
    num_targets: int
    total_weight: float

    @classmethod
    def from_windows(cls, windows: SeqBatch, drawn_X: NDArray[np.int64]) -> "DecoderBatch":
        """Makes the batch of a whole optimiser step of the retriever's training.

        Args:
            windows: All windows (sections of user sequences) of the step.
            drawn_X: Items that were drawn at random as negative examples of the relevance loss. Each is given by the
                number of its leaf in the trie of semantic IDs, in [0, N).
        """
        read = windows.history_BT[windows.history_BT != PADDING]
        predicted = windows.targets_BT[windows.targets_BT != PADDING]
        items_X = torch.cat([read, predicted, torch.from_numpy(drawn_X)])
        return cls(windows, items_X, len(predicted), _total_weight(windows))

    def split(self, parts: int) -> "list[tuple[DecoderBatch, float]]":
        """Divides this batch's windows among `parts` new batches, and returns each new batch with its weight.

        The weight is the new batch's share of `total_weight`, the sum of the loss weights of the step's targets. The
        sum of the new batches' losses, each times its weight, is the loss of this batch. No batch may be empty. So if
        there are fewer windows than parts, each batch without a window of its own gets a copy of the first window, and
        the weight 0.
        """
        dealt = []
        for part in range(parts):
            is_spare = part >= len(self.windows.history_BT)
            windows = self.windows.rows(slice(1) if is_spare else slice(part, None, parts))
            weight = 0.0 if is_spare else _total_weight(windows) / self.total_weight
            dealt.append((self._replace(windows=windows), weight))
        return dealt

    def to(self, device: torch.device) -> "DecoderBatch":
        """Returns a copy of this batch with its tensors on a device."""
        return self._replace(windows=self.windows.to(device), items_X=self.items_X.to(device))


def _total_weight(windows: SeqBatch) -> float:
    """Returns the sum of the targets' weights."""
    if windows.weights_BT is None:
        return float((windows.targets_BT != PADDING).sum())
    return float(windows.weights_BT.sum())


def retriever_work(catalogue: CatalogueTensors, tokens: Sequences, settings: DecoderSettings) -> Work[DecoderBatch]:
    """Returns the functions with which `training.runtime.loop.train` trains a retriever.

    They make batches, split them, and compute losses. There is no function for validation; the caller may add one.

    Args:
        catalogue: The semantic IDs, features and popularity of all items, on the model's device.
        tokens: Training sequences. Each item is given by the number of its leaf in the trie of semantic IDs.
        settings: The retriever's sizes, and how it is trained.
    """
    device, num_leaves = catalogue.rows_N.device, len(catalogue.rows_N)
    sequences = SeqData(
        tokens,
        max_history=settings.max_history,
        batch_size=settings.batch_size,
        batch_targets=settings.batch_targets,
        seed=settings.seed,
        crop_share=settings.crop_share,
    )

    def batches(epoch: int) -> Iterator[DecoderBatch]:
        for number, windows in enumerate(sequences.epoch(epoch)):
            rng = np.random.default_rng((settings.seed, epoch, number))
            yield DecoderBatch.from_windows(windows, rng.integers(0, num_leaves, settings.negatives))

    def losses(model: nn.Module, batch: DecoderBatch, _done: float) -> Mapping[str, Tensor]:
        batch = batch.to(device)
        sampled = SampledItems.from_batch(
            batch.items_X, catalogue.shares_N, targets=batch.num_targets, draws=settings.negatives
        )
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


def continue_retriever(
    model: Retriever,
    catalogue: CatalogueTensors,
    sequences: Sequences,
    settings: DecoderSettings,
    checkpoints: Path,
    tensorboard: Path,
    *,
    name: str,
    validate: Callable[[], float] | None = None,
) -> Retriever:
    """Trains a retriever from the weights that it has.

    Args:
        model: The retriever, which is changed. It is on the device of the training.
        catalogue: The semantic IDs, features and popularity of all items, on the same device.
        sequences: Training sequences of leaf positions in the trie of semantic IDs.
        settings: How the retriever is trained. The sizes are those of `model`.
        checkpoints: The folder of this training's checkpoints.
        tensorboard: The folder of all TensorBoard files.
        name: Name of the training, for the progress display and TensorBoard.
        validate: Returns the score of the model's current weights, higher is better; None for no validation.

    Returns:
        The retriever, on the CPU and in evaluation mode. It has the weights with the best score; without validation,
        the last weights.
    """
    with TemporaryDirectory(prefix="rqrec-") as scratch:
        # The sequences are read from disk, so they need not fit into memory. The open file outlives its folder.
        sequences = move_to_disk(sequences, Path(scratch) / "sequences.npy")
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=settings.learning_rate, weight_decay=settings.weight_decay, fused=True)
    work = replace(retriever_work(catalogue, sequences, settings), validate=validate)
    train(name, model, optimizer, work, _schedule(settings), checkpoints=checkpoints, tensorboard=tensorboard)
    return model.eval().cpu()


def _schedule(settings: DecoderSettings) -> Schedule:
    return Schedule(
        epochs=settings.epochs,
        learning_rate=settings.learning_rate,
        warmup_share=0.05,
        gradient_clip=1.0,
        checkpoint_every_steps=settings.checkpoint_every_steps,
        validate_every_epochs=settings.validate_every_epochs,
        patience=settings.patience,
        accumulate=settings.accumulate,
    )
