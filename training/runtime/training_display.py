"""Shows a training while it runs: steps and loss in the progress display, and all losses in TensorBoard."""

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
    """Shows the steps and validations of one training, in the progress display and in TensorBoard.

    Attributes:
        task: The training in the progress display.
        writer: The writer of TensorBoard files; None in ranks that show nothing.
    """

    task: Task
    writer: SummaryWriter | None

    def show_step(self, step: int, losses: Mapping[str, Tensor], learning_rate: float) -> None:
        """Shows in the progress display that an optimiser step is done; every tenth step, also shows the losses.

        Args:
            step: Number of optimiser steps done.
            losses: Losses by name, scalars. The progress display shows "loss", also after the first step of this run;
                TensorBoard gets all of them.
            learning_rate: The learning rate of this step.
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

    def show_measures(self, step: int, measures: Mapping[str, float]) -> None:
        """Shows in TensorBoard what was measured beside the losses.

        Args:
            step: Number of optimiser steps done.
            measures: Values by name; TensorBoard shows them as "measured/<name>".
        """
        if self.writer is not None:
            for name, value in measures.items():
                self.writer.add_scalar(f"measured/{name}", value, step)

    def show_validation(self, step: int, score: float) -> None:
        """Shows the score of a validation in the progress display and in TensorBoard.

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
    """Opens the display of a training, yields it, and closes it when the `with` block ends.

    Args:
        name: Name of the training, which is also the name of its stage and of its folder below `tensorboard`.
        tensorboard: The folder of all TensorBoard files.
        steps: Number of optimiser steps in the whole training.
        first_step: Number of steps that a resumed training has done before; 0 for a new one. TensorBoard discards the
            old values of later steps.
        enabled: Whether to show anything; true in rank 0 only.
    """
    # A value at `purge_step` is discarded too, and a resumed training does not compute that of its first step again.
    purge_step = first_step + 1 if first_step else 0
    files = SummaryWriter(str(tensorboard / name), purge_step=purge_step) if enabled else nullcontext()
    with files as writer, progress(name, total=steps, done=first_step) as task:
        yield TrainingDisplay(task, writer)
