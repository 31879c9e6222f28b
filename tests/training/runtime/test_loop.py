import os
import signal
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rqrec.training.runtime.loop import TrainingInterrupted, Work, train
from rqrec.training.runtime.schedule import Schedule

SCHEDULE = Schedule(epochs=4, learning_rate=0.05, warmup_share=0.1, gradient_clip=1.0, checkpoint_every_steps=3)
BATCHES = 5


class Run:
    """A tiny regression with dropout, which can be stopped after a step."""

    def __init__(self, folder: Path, *, stop_after: int | None = None, schedule: Schedule = SCHEDULE) -> None:
        self.folder, self.stop_after, self.schedule = folder, stop_after, schedule
        torch.manual_seed(0)
        self.model = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.5), nn.Linear(8, 1))
        self.losses: list[float] = []
        self.scores: Iterator[float] | None = None

    def __call__(self) -> None:
        optimizer = torch.optim.AdamW(self.model.parameters())
        validate = None if self.scores is None else lambda: next(self.scores or iter(()))
        train(
            "toy",
            self.model,
            optimizer,
            Work(lambda _: BATCHES, self.epoch, self.step_losses, validate, self.after_step),
            self.schedule,
            checkpoints=self.folder / "checkpoints",
            tensorboard=self.folder / "tensorboard",
        )

    def epoch(self, epoch: int) -> Iterator[Tensor]:
        generator = torch.Generator().manual_seed(epoch)
        for _ in range(BATCHES):
            yield torch.randn(16, 4, generator=generator)

    def step_losses(self, model: nn.Module, batch: Tensor, _done: float) -> Mapping[str, Tensor]:
        loss = F.mse_loss(model(batch), batch.sum(1, keepdim=True))
        self.losses.append(float(loss.detach()))
        return {"loss": loss}

    def after_step(self, step: int) -> None:
        if step == self.stop_after:
            os.kill(os.getpid(), signal.SIGTERM)


@pytest.mark.parametrize("stop_after", [1, 5, 7, 19])
def test_a_stopped_run_resumes_to_the_same_losses_and_weights(tmp_path: Path, stop_after: int) -> None:
    whole = Run(tmp_path / "whole")
    whole()
    stopped = Run(tmp_path / "stopped", stop_after=stop_after)
    with pytest.raises(TrainingInterrupted, match=f"stopped at step {stop_after}; checkpoint in"):
        stopped()
    resumed = Run(tmp_path / "stopped")
    resumed()
    assert stopped.losses + resumed.losses == whole.losses
    for name, tensor in whole.model.state_dict().items():
        assert torch.equal(tensor, resumed.model.state_dict()[name]), name


def test_same_seed_same_losses(tmp_path: Path) -> None:
    one = Run(tmp_path / "one")
    one()
    other = Run(tmp_path / "other")
    other()
    assert one.losses == other.losses


def test_the_best_validated_weights_are_kept(tmp_path: Path) -> None:
    run = Run(tmp_path)
    seen: list[Tensor] = []

    def scores() -> Iterator[float]:
        for score in (0.1, 0.9, 0.3, 0.2):
            seen.append(run.model.state_dict()["0.weight"].clone())
            yield score

    run.scores = scores()
    run()
    assert torch.equal(run.model.state_dict()["0.weight"], seen[1])


def test_training_ends_when_patience_does(tmp_path: Path) -> None:
    schedule = Schedule(20, 0.05, 0.1, 1.0, 1000, patience=2)
    run = Run(tmp_path, schedule=schedule)
    run.scores = iter([0.5, 0.6, 0.1, 0.1, 0.9])
    run()
    assert len(run.losses) == 4 * BATCHES


def test_a_loss_that_is_not_finite_stops_training(tmp_path: Path) -> None:
    run = Run(tmp_path)
    with torch.no_grad():
        next(run.model.parameters()).fill_(torch.nan)
    with pytest.raises(FloatingPointError, match="must be a finite number, got nan: lower learning_rate"):
        run()
