"""The schedule of a training: its length, its learning rate, and when it saves checkpoints and validates."""

import math
from dataclasses import dataclass

from rqrec.training.runtime.checkpoint import Progress

FINAL_LR_SHARE = 0.05


@dataclass(frozen=True)
class Schedule:
    """The length of a training, its learning rate, and when it saves checkpoints, validates and ends.

    Attributes:
        epochs: Passes over the data.
        learning_rate: The peak learning rate. The rate rises to the peak during the warm-up, and then falls to 5 % of
            it along a cosine.
        warmup_share: Share of the training that is warm-up, in [0, 1).
        gradient_clip: Largest norm of the gradient; a larger gradient is scaled down to it.
        checkpoint_every_steps: Optimiser steps between two checkpoints.
        validate_every_epochs: Epochs between two validations.
        patience: Training ends after this many validations in a row without a better score.
        accumulate: Number of parts of a batch that each rank (training process) computes one after the other. Their
            gradients are added up for one optimiser step, so training works with a batch that does not fit into memory
            as a whole.
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
        """Returns the learning rate of the step at which the share `done` of the training, in [0, 1], is done."""
        if done < self.warmup_share:
            return self.learning_rate * max(done, 1e-4) / self.warmup_share
        decay = 0.5 * (1 + math.cos(math.pi * (done - self.warmup_share) / (1 - self.warmup_share)))
        return self.learning_rate * (FINAL_LR_SHARE + (1 - FINAL_LR_SHARE) * decay)

    def is_over(self, progress: Progress) -> bool:
        """Returns whether training ends now.

        This is so if all epochs are done, or if the last `patience` validations gave no better score than an earlier
        one.
        """
        waited = progress.epoch - max(progress.best_epoch, 0)
        out_of_patience = progress.best_epoch >= 0 and waited >= self.patience * self.validate_every_epochs
        return progress.epoch >= self.epochs or out_of_patience

    def validates_after(self, epoch: int) -> bool:
        """Returns whether to validate when `epoch` epochs are done. This is always so at the end of the last epoch."""
        return epoch % self.validate_every_epochs == 0 or epoch == self.epochs
