"""Shows a training while it runs: its position and loss as progress, and scalars in TensorBoard."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

from rqrec.training.runtime.progress import Task, progress

LOG_EVERY_STEPS = 10


@dataclass(frozen=True)
class TrainingDisplay:
    """An open display; without a writer it shows nothing.

    Attributes:
        task: The training's progress.
        writer: The writer of TensorBoard's files.
    """

    task: Task
    writer: SummaryWriter | None

    def show_step(self, step: int, losses: Mapping[str, Tensor], learning_rate: float) -> None:
        """Shows a step. The losses are shown of the first one and of every tenth step.

        Args:
            step: Number of optimiser steps done.
            losses: Scalars by name; "loss" is shown as progress, all go to TensorBoard.
            learning_rate: The step's learning rate.
        """
        if self.writer is None:
            return
        is_logged = step % LOG_EVERY_STEPS == 0
        if is_logged or step == self.task.first + 1:
            self.task.show(loss=f"{float(losses['loss']):.4f}")
        self.task.show(done=step)
        if is_logged:
            for name, value in losses.items():
                self.writer.add_scalar(f"train/{name}", float(value), step)
            self.writer.add_scalar("train/learning_rate", learning_rate, step)

    def show_validation(self, step: int, score: float) -> None:
        """Shows the result of a validation.

        Args:
            step: Number of optimiser steps done.
            score: The validation score; higher is better.
        """
        if self.writer is not None:
            self.writer.add_scalar("validation/score", score, step)
        self.task.show(validation=f"{score:.4f}")


@contextmanager
def training_display(
    name: str, tensorboard: Path, *, steps: int, first_step: int, enabled: bool
) -> Iterator[TrainingDisplay]:
    """Yields a display, which is closed at the end.

    Args:
        name: The training's name, which is that of its stage, and its folder below `tensorboard`.
        tensorboard: The folder of all TensorBoard files.
        steps: Number of optimiser steps in the whole training.
        first_step: Number of steps done before; TensorBoard's scalars of later steps are replaced.
        enabled: Whether anything is shown.
    """
    files = SummaryWriter(str(tensorboard / name), purge_step=first_step) if enabled else nullcontext()
    with files as writer, progress(name, total=steps, done=first_step) as task:
        yield TrainingDisplay(task, writer)
