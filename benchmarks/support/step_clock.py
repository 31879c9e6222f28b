"""Times steps of a training, without what comes before its first step."""

import time

import torch

from rqrec.models.errors import UserError
from rqrec.training.runtime.device import training_device


class StepClock:
    """Times steps of a training: those after the step `begin`, until the step `end` or the training's last one.

    Args:
        begin: The step after which timing begins.
        end: The step after which it ends.

    Attributes:
        steps: The number of steps until now.
    """

    def __init__(self, begin: int, end: int) -> None:
        self._begin, self._end = begin, end
        self._begin_s = self._last_s = 0.0
        self.steps = 0

    def __call__(self, *_: object) -> None:
        """Counts a step of the optimizer."""
        self.steps += 1
        if self.steps in {self._begin, self._end} and training_device().type == "cuda":
            torch.cuda.synchronize()  # the steps are still running there
        if self.steps <= self._end:
            self._last_s = time.perf_counter()
        if self.steps == self._begin:
            self._begin_s = self._last_s

    def step_seconds(self) -> float:
        """Returns the duration of a timed step, in seconds.

        Raises:
            UserError: If the training ended before there was one.
        """
        timed = min(self.steps, self._end) - self._begin
        if timed < 1:
            raise UserError(f"expected a training of more than {self._begin} steps, got {self.steps}: ask for fewer")
        return (self._last_s - self._begin_s) / timed
