import logging
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from rqrec.training.runtime.checkpoint import (
    BEST_WEIGHTS,
    CHECKSUMS,
    STATE,
    WEIGHTS,
    Progress,
    copy_weights,
    restore_latest_checkpoint,
    save_checkpoint,
)

Damage = Callable[[Path], object]


def model_of(width: int = 4) -> tuple[nn.Module, torch.optim.Optimizer]:
    torch.manual_seed(0)
    model = nn.Linear(3, width)
    return model, torch.optim.AdamW(model.parameters())


def train(folder: Path, *, width: int = 4, steps: tuple[int, ...] = (1, 2)) -> dict[int, dict[str, torch.Tensor]]:
    """Leaves a checkpoint a step; returns the weights at each."""
    (model, optimizer), weights = model_of(width), {}
    for step in steps:
        optimizer.zero_grad()
        model(torch.full((1, 3), float(step))).sum().backward()
        optimizer.step()
        weights[step] = copy_weights(model)
        save_checkpoint(folder, model, optimizer, Progress(step=step), weights[step])
    return weights


def truncate(name: str) -> Damage:
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:-1])


def empty(name: str) -> Damage:
    return lambda folder: (folder / name).write_bytes(b"")


def zero(name: str) -> Damage:
    return lambda folder: (folder / name).write_bytes(bytes((folder / name).stat().st_size))


def flip(name: str) -> Damage:
    def damage(folder: Path) -> None:
        content = bytearray((folder / name).read_bytes())
        content[-1] ^= 1
        (folder / name).write_bytes(content)

    return damage


def remove(name: str) -> Damage:
    return lambda folder: (folder / name).unlink()


def hollow(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.mkdir()


def become_a_file(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.touch()


def foreign(folder: Path) -> None:
    other = folder.parent.parent / "other"
    train(other, width=7, steps=(2,))
    shutil.rmtree(folder)
    (other / "step-00000002").rename(folder)


PARTS = (WEIGHTS, BEST_WEIGHTS, STATE, CHECKSUMS)
DAMAGES = {
    **{f"{kind.__name__} {name}": kind(name) for kind in (truncate, empty, zero, flip, remove) for name in PARTS},
    "empty folder": hollow,
    "no folder": become_a_file,
    "another model": foreign,
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_broken_checkpoint_is_passed_over_with_a_line_that_names_it(
    tmp_path: Path, damage: Damage, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    folder = tmp_path / "checkpoints"
    weights = train(folder)
    damage(folder / "step-00000002")
    model, optimizer = model_of()
    progress, best = restore_latest_checkpoint(folder, model, optimizer)
    assert progress.step == 1
    assert torch.equal(model.state_dict()["weight"], weights[1]["weight"])
    assert best is not None
    assert torch.equal(best["weight"], weights[1]["weight"])
    (record,) = caplog.records
    assert str(folder / "step-00000002") in record.getMessage()
    assert "cannot be used" in record.getMessage()


def test_where_no_checkpoint_is_whole_training_starts_over_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    train(tmp_path)
    for checkpoint in tmp_path.iterdir():
        remove(STATE)(checkpoint)
    model, optimizer = model_of()
    before = copy_weights(model)
    assert restore_latest_checkpoint(tmp_path, model, optimizer) == (Progress(), None)
    assert torch.equal(model.state_dict()["weight"], before["weight"])
    assert not optimizer.state_dict()["state"]
    messages = [record.getMessage() for record in caplog.records]
    assert len(messages) == 3
    assert messages[-1] == f"no checkpoint in {tmp_path} can be used: training starts over"


def test_broken_checkpoints_of_later_steps_do_not_displace_whole_ones(tmp_path: Path) -> None:
    train(tmp_path, steps=(8, 9))
    for checkpoint in tmp_path.iterdir():
        truncate(STATE)(checkpoint)
    train(tmp_path, steps=(1,))
    model, optimizer = model_of()
    assert restore_latest_checkpoint(tmp_path, model, optimizer)[0].step == 1
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000001"]


def test_the_newest_two_checkpoints_are_kept(tmp_path: Path) -> None:
    train(tmp_path, steps=(1, 2, 3))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-00000002", "step-00000003"]
