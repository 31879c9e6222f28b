"""Shows a training while it runs: a progress bar in the terminal, and scalars in TensorBoard."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as ProgressBar
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

LOG_EVERY_STEPS = 10


@dataclass(frozen=True)
class TrainingDisplay:
    """An open display; without a writer it shows nothing.

    Attributes:
        bar: The terminal's progress bar.
        task: The training's line in the bar.
        writer: The writer of TensorBoard's files.
    """

    bar: ProgressBar
    task: TaskID
    writer: SummaryWriter | None

    def show_step(self, step: int, losses: Mapping[str, Tensor], learning_rate: float) -> None:
        """Shows every tenth step.

        Args:
            step: Number of optimiser steps done.
            losses: Scalars by name; "loss" is shown in the bar, all go to TensorBoard.
            learning_rate: The step's learning rate.
        """
        if self.writer is None or step % LOG_EVERY_STEPS:
            return
        for name, value in losses.items():
            self.writer.add_scalar(f"train/{name}", float(value), step)
        self.writer.add_scalar("train/learning_rate", learning_rate, step)
        self.bar.update(self.task, completed=step, loss=f"{float(losses['loss']):.4f}")

    def show_validation(self, step: int, score: float) -> None:
        """Shows the result of a validation.

        Args:
            step: Number of optimiser steps done.
            score: The validation score; higher is better.
        """
        if self.writer is not None:
            self.writer.add_scalar("validation/score", score, step)
        self.bar.update(self.task, score=f"{score:.4f}")

    def show_end(self, step: int) -> None:
        """Fills the bar after the last step."""
        self.bar.update(self.task, completed=step, total=step)


@contextmanager
def training_display(
    name: str, tensorboard: Path, *, steps: int, first_step: int, enabled: bool
) -> Iterator[TrainingDisplay]:
    """Yields a display, which is closed at the end.

    Args:
        name: The training's name in the bar, and its folder below `tensorboard`.
        tensorboard: The folder of all TensorBoard files.
        steps: Number of optimiser steps in the whole training.
        first_step: Number of steps done before; TensorBoard's scalars of later steps are replaced.
        enabled: Whether anything is shown.
    """
    files = SummaryWriter(str(tensorboard / name), purge_step=first_step) if enabled else nullcontext()
    columns = (
        TextColumn("{task.description:>12}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("loss {task.fields[loss]:>8}  validation {task.fields[score]:>6}"),
        TimeRemainingColumn(elapsed_when_finished=True),
    )
    with files as writer, ProgressBar(*columns, disable=not enabled) as bar:
        task = bar.add_task(name, total=steps, completed=first_step, loss="", score="")
        yield TrainingDisplay(bar, task, writer)
