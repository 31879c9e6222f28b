"""The training loop that both stages share: schedule, progress bar, TensorBoard, checkpoints, a clean stop."""

import math
import signal
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from types import FrameType
from typing import Generic, TypeVar

import torch
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as ProgressBar
from torch import Tensor, nn
from torch.utils.tensorboard import SummaryWriter

from rqrec.models.errors import UserError
from rqrec.training.runtime.checkpoint import Progress, copy_weights, restore_latest_checkpoint, save_checkpoint
from rqrec.training.runtime.distributed import any_rank, broadcast, broadcast_tensors, rank, sum_gradients, world_size

BatchT = TypeVar("BatchT")
LOG_EVERY_STEPS = 10
FINAL_LR_SHARE = 0.05
SEED_STRIDE = 1_000_003


class TrainingInterrupted(Exception):
    """Raised after a stop was asked for and a checkpoint written; says where."""


class TrainingDiverged(UserError, FloatingPointError):
    """Raised when the loss is no longer finite; says what to change."""


@dataclass(frozen=True)
class Schedule:
    """How long and how fast to learn.

    Attributes:
        epochs: Passes over the data.
        learning_rate: Peak rate, reached after the warm-up and followed by a cosine decay to 5 % of it.
        warmup_share: Share of the epochs in which the rate rises from 0.
        gradient_clip: Largest norm of a gradient.
        checkpoint_every_steps: Steps between checkpoints.
        validate_every_epochs: Epochs between validations.
        patience: Validations without a better score after which training ends.
        accumulate: Parts that each process takes one after the other; their gradients add up to one step, so that a
            batch of any size fits into memory.
    """

    epochs: int
    learning_rate: float
    warmup_share: float
    gradient_clip: float
    checkpoint_every_steps: int
    validate_every_epochs: int = 1
    patience: int = 10**9
    accumulate: int = 1

    def rate(self, done: float) -> float:
        """The learning rate when a share `done` of training, in [0, 1], lies behind."""
        if done < self.warmup_share:
            return self.learning_rate * max(done, 1e-4) / self.warmup_share
        decay = 0.5 * (1 + math.cos(math.pi * (done - self.warmup_share) / (1 - self.warmup_share)))
        return self.learning_rate * (FINAL_LR_SHARE + (1 - FINAL_LR_SHARE) * decay)


def _whole(batch: BatchT, parts: int) -> list[tuple[BatchT, float]]:
    if parts > 1:
        raise ValueError(f"this training has no rule for cutting a batch into {parts} parts")
    return [(batch, 1.0)]


@dataclass(frozen=True)
class Work(Generic[BatchT]):
    """What a stage does in the loop.

    Attributes:
        num_batches: Batches in an epoch.
        batches: The batches of an epoch, the same at every call.
        losses: Given a batch, or a part of one, and the share of training done: the scalars to log; "loss" is the one
            to minimise, a mean over what the batch holds.
        validate: The score of the present weights, higher being better; the best weights are kept.
        after_step: Called with the step's number after each optimiser step; must do the same in every process.
        split: Cuts a batch into so many parts, each with its weight in the mean; an empty part has weight 0.
    """

    num_batches: Callable[[int], int]
    batches: Callable[[int], Iterable[BatchT]]
    losses: Callable[[BatchT, float], Mapping[str, Tensor]]
    validate: Callable[[], float] | None = None
    after_step: Callable[[int], None] | None = None
    split: Callable[[BatchT, int], Sequence[tuple[BatchT, float]]] = _whole


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
    """Trains a model in place, going on from the newest checkpoint if there is one; ends with the best weights.

    On SIGINT or SIGTERM the running step is finished and a checkpoint written. Several processes (`distributed.py`)
    start from the first one's weights and share every batch; how many they are may change at every resumption.

    Raises:
        TrainingInterrupted: After such a stop.
        TrainingDiverged: If the loss is no longer finite.
    """
    progress, best = _begin(checkpoints, model, optimizer)
    start_step, is_first = progress.step, rank() == 0
    if not is_first:  # or all would drop the same activations
        torch.manual_seed(torch.initial_seed() + SEED_STRIDE * rank() + start_step)
    logs = SummaryWriter(str(tensorboard / name), purge_step=start_step) if is_first else nullcontext()
    with logs as writer, _bar(disable=not is_first) as bar, _stop_flag() as asked:
        task = bar.add_task(name, total=schedule.epochs * work.num_batches(0), completed=start_step, loss="", score="")
        while progress.epoch < schedule.epochs and not _out_of_patience(progress, schedule):
            batches = work.num_batches(progress.epoch)
            for batch in islice(work.batches(progress.epoch), progress.batch, None):
                done = (progress.epoch + progress.batch / batches) / schedule.epochs
                losses = _step(model, optimizer, work, schedule, batch, done)
                progress.step, progress.batch = progress.step + 1, progress.batch + 1
                if work.after_step is not None:
                    work.after_step(progress.step)
                if progress.step % LOG_EVERY_STEPS == 0 and writer is not None:
                    _log(writer, losses, schedule.rate(done), progress.step)
                    bar.update(task, completed=progress.step, loss=f"{float(losses['loss']):.4f}")
                stop = any_rank(asked())
                if stop or progress.step % schedule.checkpoint_every_steps == 0:
                    if is_first:
                        save_checkpoint(checkpoints, model, optimizer, progress, best)
                    if stop:
                        raise TrainingInterrupted(f"stopped at step {progress.step}; checkpoint in {checkpoints}")
            progress.epoch, progress.batch = progress.epoch + 1, 0
            if work.validate is not None and _is_time_to_validate(progress, schedule):
                score = broadcast(work.validate() if is_first else 0.0)
                if writer is not None:
                    writer.add_scalar("validation/score", score, progress.step)
                bar.update(task, score=f"{score:.4f}")
                if score > progress.best_score:
                    progress.best_score, progress.best_epoch, best = score, progress.epoch, copy_weights(model)
        bar.update(task, completed=progress.step, total=progress.step)
    if best is not None:
        model.load_state_dict(best)
    return progress


def _begin(
    checkpoints: Path, model: nn.Module, optimizer: torch.optim.Optimizer
) -> tuple[Progress, dict[str, Tensor] | None]:
    """Brings every process to where the first one's newest checkpoint is, or to its fresh weights if it has none."""
    if world_size() == 1:
        return restore_latest_checkpoint(checkpoints, model, optimizer)
    is_first = rank() == 0
    restored = restore_latest_checkpoint(checkpoints, model, optimizer) if is_first else (Progress(), None)
    broadcast_tensors([*model.parameters(), *model.buffers()])
    (progress, best), state = broadcast((restored, optimizer.state_dict()))
    optimizer.load_state_dict(state)
    return progress, best


def _step(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    work: Work[BatchT],
    schedule: Schedule,
    batch: BatchT,
    done: float,
) -> Mapping[str, Tensor]:
    """One optimiser step; returns the means of the losses over this process's parts."""
    model.train()
    for group in optimizer.param_groups:
        group["lr"] = schedule.rate(done)
    optimizer.zero_grad(set_to_none=True)
    means = add_gradients(model, work, batch, done, accumulate=schedule.accumulate)
    nn.utils.clip_grad_norm_(model.parameters(), schedule.gradient_clip)
    optimizer.step()
    return means


def add_gradients(
    model: nn.Module, work: Work[BatchT], batch: BatchT, done: float, *, accumulate: int
) -> dict[str, Tensor]:
    """Adds the gradients of a whole batch to the model's, in every process; each works out its own parts of it.

    Args:
        model: The model.
        work: How a batch is cut, and its losses.
        batch: The whole batch, the same in every process.
        done: Share of training done.
        accumulate: Parts that each process takes one after the other.

    Returns:
        The means of the losses over this process's parts.

    Raises:
        TrainingDiverged: If the loss is not finite.
    """
    begin = rank() * accumulate
    parts = work.split(batch, world_size() * accumulate)[begin : begin + accumulate]
    own_weight = sum(weight for _, weight in parts)
    means: dict[str, Tensor] = {}
    for part, weight in parts:
        if weight == 0:
            continue
        losses = work.losses(part, done)
        if not torch.isfinite(losses["loss"]):
            raise TrainingDiverged(f"the loss is {float(losses['loss'].detach())}: lower learning_rate")
        (losses["loss"] * weight).backward()
        for name, value in losses.items():
            mean = value.detach() * (weight / own_weight)
            means[name] = means[name] + mean if name in means else mean
    sum_gradients(model.parameters())
    return means


def _is_time_to_validate(progress: Progress, schedule: Schedule) -> bool:
    return progress.epoch % schedule.validate_every_epochs == 0 or progress.epoch == schedule.epochs


def _out_of_patience(progress: Progress, schedule: Schedule) -> bool:
    waited = progress.epoch - max(progress.best_epoch, 0)
    return progress.best_epoch >= 0 and waited >= schedule.patience * schedule.validate_every_epochs


def _log(writer: SummaryWriter, losses: Mapping[str, Tensor], rate: float, step: int) -> None:
    for name, value in losses.items():
        writer.add_scalar(f"train/{name}", float(value), step)
    writer.add_scalar("train/learning_rate", rate, step)


def _bar(*, disable: bool) -> ProgressBar:
    return ProgressBar(
        TextColumn("{task.description:>12}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("loss {task.fields[loss]:>8}  validation {task.fields[score]:>6}"),
        TimeRemainingColumn(elapsed_when_finished=True),
        disable=disable,
    )


@contextmanager
def _stop_flag() -> Iterator[Callable[[], bool]]:
    """While the block runs, SIGINT and SIGTERM only raise a flag, which the yielded function reads."""
    asked = False

    def ask(_signal: int, _frame: FrameType | None) -> None:
        nonlocal asked
        asked = True

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
