from pathlib import Path

import pytest
from torch.utils.tensorboard import SummaryWriter

from rqrec.training.runtime import curves
from rqrec.training.runtime.curves import keep_curves, load_curves


def write(folder: Path, number: int, values: dict[int, float], *, first_step: int) -> None:
    with SummaryWriter(str(folder), purge_step=first_step, filename_suffix=".new") as writer:
        for step, value in values.items():
            writer.add_scalar("train/loss", value, step)
    (file,) = folder.glob("*.new")
    file.rename(folder / f"events.out.tfevents.{number}")


def test_the_curves_are_those_of_the_last_training_across_its_interruptions(tmp_path: Path) -> None:
    files, stage = tmp_path / "files", tmp_path / "stage"
    stage.mkdir()
    write(files, 1, {10: 9.0, 20: 8.0, 30: 7.0, 40: 6.5}, first_step=0)
    write(files, 2, {10: 5.0, 20: 4.0, 30: 3.0}, first_step=0)  # a training with other settings
    write(files, 3, {30: 2.0, 40: 1.0}, first_step=20)  # it was resumed at step 20
    keep_curves(files, stage)
    loss = load_curves(stage)["train/loss"]
    assert loss.steps_S.tolist() == [10, 20, 30, 40]
    assert loss.values_S.tolist() == [5.0, 4.0, 2.0, 1.0]


def test_a_long_curve_is_thinned_and_keeps_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(curves, "MAX_POINTS", 4)
    write(tmp_path / "files", 1, {step: float(step) for step in range(1, 11)}, first_step=0)
    keep_curves(tmp_path / "files", tmp_path)
    assert load_curves(tmp_path)["train/loss"].steps_S.tolist() == [1, 4, 7, 10]


def test_files_that_cannot_be_read_lose_no_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "files").mkdir()
    monkeypatch.setattr(curves, "EventAccumulator", lambda *_args, **_options: 1 / 0)
    keep_curves(tmp_path / "files", tmp_path)
    keep_curves(tmp_path / "no such folder", tmp_path)
    assert load_curves(tmp_path) == {}
