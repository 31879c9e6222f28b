from pathlib import Path

import pytest

from rqrec.training.runtime import curves
from rqrec.training.runtime.curves import keep_curves, load_curves
from rqrec.training.runtime.training_display import training_display


def train(folder: Path, values: dict[int, float], *, first_step: int) -> None:
    """Writes what a training would that begins after a step, into a file that comes after the others."""
    before = set(folder.glob("loss/*"))
    with training_display("loss", folder, steps=99, first_step=first_step, enabled=True) as display:
        for step, value in values.items():
            display.show_validation(step, value)
    (file,) = set(folder.glob("loss/*")) - before
    file.rename(file.with_name(f"events.out.tfevents.{len(before)}"))


def test_the_curves_are_those_of_the_last_training_across_its_interruptions(tmp_path: Path) -> None:
    train(tmp_path, {10: 9.0, 20: 8.0, 30: 7.0, 50: 6.5}, first_step=0)
    train(tmp_path, {10: 5.0, 20: 4.0, 30: 3.0}, first_step=0)  # a training with other settings
    train(tmp_path, {30: 2.0, 40: 1.0}, first_step=20)  # it was resumed at step 20
    keep_curves(tmp_path / "loss", tmp_path)
    score = load_curves(tmp_path)["validation/score"]
    assert score.steps_S.tolist() == [10, 20, 30, 40]
    assert score.values_S.tolist() == [5.0, 4.0, 2.0, 1.0]


def test_a_long_curve_is_thinned_and_keeps_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(curves, "MAX_POINTS", 4)
    train(tmp_path, {step: float(step) for step in range(1, 12)}, first_step=0)
    keep_curves(tmp_path / "loss", tmp_path)
    assert load_curves(tmp_path)["validation/score"].steps_S.tolist() == [1, 4, 7, 10, 11]


def test_files_that_cannot_be_read_lose_no_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "files").mkdir()
    monkeypatch.setattr(curves, "EventAccumulator", lambda *_args, **_options: 1 / 0)
    keep_curves(tmp_path / "files", tmp_path)
    keep_curves(tmp_path / "no such folder", tmp_path)
    assert load_curves(tmp_path) == {}
