"""The training loop of all models: optimiser steps, checkpoints, validation, and a clean stop on a signal."""

import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from types import FrameType
from typing import Generic, TypeVar

import torch
from torch import Tensor, nn

from rqrec.models.errors import UserError
from rqrec.training.runtime.checkpoint import Progress, copy_weights, restore_latest_checkpoint, save_checkpoint
from rqrec.training.runtime.distributed import any_rank, averaging, broadcast, data_parallel, rank, world_size
from rqrec.training.runtime.schedule import Schedule
from rqrec.training.runtime.training_display import TrainingDisplay, training_display

BatchT = TypeVar("BatchT")
SEED_STRIDE = 1_000_003


class TrainingInterrupted(Exception):
    """Raised when SIGINT or SIGTERM has stopped a training. The message names the folder of its checkpoint."""


class TrainingDiverged(UserError, FloatingPointError):
    """Raised when the loss is infinite or not a number. The message says what to change."""


def _whole(batch: BatchT, parts: int) -> list[tuple[BatchT, float]]:
    if parts > 1:
        raise ValueError(
            f"this training cannot split a batch, so it needs one part, got {parts} (ranks times accumulate): train in "
            "one process with accumulate = 1"
        )
    return [(batch, 1.0)]


@dataclass(frozen=True)
class Work(Generic[BatchT]):
    """The functions of one model's training: its batches, its losses and its validation. `train` calls them.

    Attributes:
        num_batches: Returns the number of batches in an epoch. Epochs are numbered from 0.
        batches: Returns the batches of an epoch. Two calls with the same epoch return the same batches.
        losses: Returns the losses by name, from the model, a batch (or a part of a batch) and the share of training
            done, in [0, 1]. "loss", a mean over the batch, is minimised; the others are only logged. This function must
            call the given model exactly once, because DistributedDataParallel averages the gradients of that call.
        validate: Returns the score of the current weights; higher is better. At the end, the model gets the weights
            with the best score. None for no validation: the model then keeps its last weights.
        after_step: Called after each optimiser step with the number of steps done; None for no call. It must do the
            same in every rank.
        split: Divides a batch into a number of parts and gives each part a weight. The weights sum to 1, and the
            weighted sum of the parts' losses is the loss of the batch. Every part must hold data. If the batch is too
            small, some parts repeat data with the weight 0. The default can only return the whole batch as one part.
        measure: Called in rank 0 before the first step and after each one, with the number of steps done. Returns
            values to record beside the losses, by name; empty to record nothing. It may switch the model to evaluation
            mode, and must change nothing else, random numbers included. None for no call.
    """

    num_batches: Callable[[int], int]
    batches: Callable[[int], Iterable[BatchT]]
    losses: Callable[[nn.Module, BatchT, float], Mapping[str, Tensor]]
    validate: Callable[[], float] | None = None
    after_step: Callable[[int], None] | None = None
    split: Callable[[BatchT, int], Sequence[tuple[BatchT, float]]] = _whole
    measure: Callable[[int], Mapping[str, float]] | None = None


def train(
    name: str,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    work: Work[BatchT],
    schedule: Schedule,
    *,
    checkpoints: Path,
    tensorboard: Path,
) -> Progress:
    """Trains a model in place. At the end, the model has the weights with the best validation score.

    Without validation, it has the last weights. Training resumes from the newest checkpoint, if there is one. On SIGINT
    or SIGTERM, the current step is finished and a checkpoint is written. Several ranks (processes) start from the
    weights of rank 0 and divide every batch among them. A training may be resumed with another number of ranks.

    Args:
        name: Name of the training, for the progress display and TensorBoard.
        model: The model, with its initial weights.
        optimizer: The optimiser of the model's parameters.
        work: The batches, losses and validation of this training.
        schedule: The length of this training, its learning rate, and when it validates.
        checkpoints: The folder of this training's checkpoints.
        tensorboard: The folder of all TensorBoard files.

    Returns:
        The progress at the end.

    Raises:
        TrainingInterrupted: After SIGINT or SIGTERM.
        TrainingDiverged: If the loss is infinite or not a number.
    """
    progress, best = _resume(checkpoints, model, optimizer)
    if rank() > 0:  # each rank drops other activations
        torch.manual_seed(torch.initial_seed() + SEED_STRIDE * rank() + progress.step)
    steps = schedule.epochs * work.num_batches(0)
    display = training_display(name, tensorboard, steps=steps, first_step=progress.step, enabled=rank() == 0)
    with display as shown, _stop_requested() as is_stopped:
        training = _Training(
            model, data_parallel(model), optimizer, work, schedule, checkpoints, shown, progress, best, is_stopped
        )
        if progress.step == 0:
            training.measure()
        while not schedule.is_over(progress):
            training.run_epoch()
    if training.best is not None:
        model.load_state_dict(training.best)
    return progress


@dataclass
class _Training(Generic[BatchT]):
    """A running training: what `train` was given, the progress, and the best weights so far."""

    model: nn.Module
    replica: nn.Module
    optimizer: torch.optim.Optimizer
    work: Work[BatchT]
    schedule: Schedule
    checkpoints: Path
    display: TrainingDisplay
    progress: Progress
    best: dict[str, Tensor] | None
    is_stopped: Callable[[], bool]

    def run_epoch(self) -> None:
        """Trains on the batches of the epoch that are left, and validates if the schedule says so."""
        progress, work = self.progress, self.work
        num_batches = work.num_batches(progress.epoch)
        for batch in islice(work.batches(progress.epoch), progress.batch, None):
            done = (progress.epoch + progress.batch / num_batches) / self.schedule.epochs
            losses = self._step(batch, done)
            progress.step, progress.batch = progress.step + 1, progress.batch + 1
            if work.after_step is not None:
                work.after_step(progress.step)
            self.display.show_step(progress.step, losses, self.schedule.rate(done))
            self.measure()
            self._save_or_stop()
        progress.epoch, progress.batch = progress.epoch + 1, 0
        if self.schedule.validates_after(progress.epoch):
            self._validate()

    def measure(self) -> None:
        """Records what is measured beside the losses, in rank 0."""
        if self.work.measure is not None and rank() == 0:
            self.display.show_measures(self.progress.step, self.work.measure(self.progress.step))

    def _step(self, batch: BatchT, done: float) -> Mapping[str, Tensor]:
        """Does one optimiser step. Returns the means of the losses over this rank's parts."""
        self.model.train()
        for group in self.optimizer.param_groups:
            group["lr"] = self.schedule.rate(done)
        self.optimizer.zero_grad(set_to_none=True)
        means = add_gradients(self.replica, self.work, batch, done, accumulate=self.schedule.accumulate)
        nn.utils.clip_grad_norm_(self.model.parameters(), self.schedule.gradient_clip)
        self.optimizer.step()
        return means

    def _save_or_stop(self) -> None:
        progress = self.progress
        stop = any_rank(self.is_stopped())
        if stop or progress.step % self.schedule.checkpoint_every_steps == 0:
            if rank() == 0:
                save_checkpoint(self.checkpoints, self.model, self.optimizer, progress, self.best)
            if stop:
                raise TrainingInterrupted(f"stopped at step {progress.step}; checkpoint in {self.checkpoints}")

    def _validate(self) -> None:
        """Validates in rank 0, and keeps the weights if they are the best so far."""
        if self.work.validate is None:
            return
        score = broadcast(self.work.validate() if rank() == 0 else 0.0)
        self.display.show_validation(self.progress.step, score)
        if score > self.progress.best_score:
            self.progress.best_score, self.progress.best_epoch = score, self.progress.epoch
            self.best = copy_weights(self.model)


def _resume(
    checkpoints: Path, model: nn.Module, optimizer: torch.optim.Optimizer
) -> tuple[Progress, dict[str, Tensor] | None]:
    """Restores rank 0 from its newest checkpoint, and gives every rank its progress and the optimiser's state.

    The weights are not sent: `data_parallel` sends them.
    """
    if world_size() == 1:
        return restore_latest_checkpoint(checkpoints, model, optimizer)
    restored = restore_latest_checkpoint(checkpoints, model, optimizer) if rank() == 0 else (Progress(), None)
    (progress, best), state = broadcast((restored, optimizer.state_dict()))
    optimizer.load_state_dict(state)
    return progress, best


def add_gradients(
    model: nn.Module, work: Work[BatchT], batch: BatchT, done: float, *, accumulate: int
) -> dict[str, Tensor]:
    """Computes the gradients of a batch, and adds them to the model's gradients in every rank.

    Each rank computes its own parts of the batch. DistributedDataParallel averages gradients over the ranks, but the
    parts' weights sum to 1 over all ranks. So each loss is multiplied by the world size; then the average over the
    ranks is the gradient of the batch's mean loss.

    Args:
        model: The model as `data_parallel` returned it.
        work: The functions that split a batch and compute its losses.
        batch: The whole batch, the same in every rank.
        done: Share of the training done, in [0, 1].
        accumulate: Number of parts that each rank computes one after the other.

    Returns:
        The mean of each loss over this rank's parts, by name.

    Raises:
        TrainingDiverged: If the loss is infinite or not a number.
    """
    first = rank() * accumulate
    parts = work.split(batch, world_size() * accumulate)[first : first + accumulate]
    own_weight = sum(weight for _, weight in parts)
    means: dict[str, Tensor] = {}
    for number, (part, weight) in enumerate(parts, start=1):
        with averaging(model, enabled=number == len(parts)):
            losses = work.losses(model, part, done)
            if not torch.isfinite(losses["loss"]):
                raise TrainingDiverged(
                    f"the loss must be a finite number, got {float(losses['loss'].detach())}: lower learning_rate"
                )
            (losses["loss"] * (weight * world_size())).backward()
        if weight:
            for name, value in losses.items():
                mean = value.detach() * (weight / own_weight)
                means[name] = means[name] + mean if name in means else mean
    return means


@contextmanager
def _stop_requested() -> Iterator[Callable[[], bool]]:
    """Yields a function that returns whether SIGINT or SIGTERM came; inside the block these signals do nothing else.

    Only the main thread gets signals. Ray trains in another one, and ends its processes itself.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    requested = False

    def request(_signal: int, _frame: FrameType | None) -> None:
        nonlocal requested
        requested = True

    before = {number: signal.signal(number, request) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: requested
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
