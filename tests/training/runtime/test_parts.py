"""Arrays that are computed in parts: nothing is computed twice, and the tasks alone decide what comes out."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors import SafetensorError
from safetensors.numpy import save_file

from rqrec.models.errors import UserError
from rqrec.models.files import UNFINISHED
from rqrec.training.runtime import progress
from rqrec.training.runtime.parts import Arrays, Parts
from rqrec.training.runtime.progress import Task, advance_innermost
from rqrec.training.runtime.workspace import Stage, StageElsewhere, Workspace, open_workspace
from tests.training.runtime.test_workspace import Nothing

TASKS = [range(4), range(4, 8), range(8, 9)]


class Squares:
    """Squares numbers, and fails at one task."""

    def __init__(self, fails_at: range | None = None) -> None:
        self.computed: list[range] = []
        self._fails_at = fails_at

    def open(self) -> Callable[[range], Arrays]:
        return self._compute

    def _compute(self, rows: range) -> Arrays:
        if rows == self._fails_at:
            raise InterruptedError
        self.computed.append(rows)
        return {"squares": np.array(rows) ** 2, "sums": np.array([sum(rows)])}


def squares_stage(workspace: Workspace, work: Squares) -> Stage:
    def write(directory: Path, parts: Path) -> None:
        made = Parts(parts).arrays("squares", work.open, TASKS, unit="numbers")
        np.save(directory / "squares.npy", made["squares"])
        np.save(directory / "sums.npy", made["sums"])

    return workspace.run_in_parts("squares", inputs=[], settings=Nothing(), write=write)


def test_units_that_a_worker_counts_within_a_part_are_counted_once(tmp_path: Path) -> None:
    told: list[int] = []

    def compute(rows: range) -> Arrays:
        for _ in rows:
            advance_innermost(1)
            told.append(task_now().done)
        return {"rows": np.array(rows)}

    Parts(tmp_path).arrays("rows", lambda: compute, TASKS, unit="numbers")
    assert told == [*range(1, 10)]
    advance_innermost(1)  # no task is running


def task_now() -> Task:
    return progress._told._tasks[-1]


def test_an_interrupted_stage_goes_on_with_its_parts_that_are_whole(tmp_path: Path) -> None:
    first, second = Squares(fails_at=TASKS[2]), Squares()
    with open_workspace(tmp_path, tmp_path) as workspace:
        with pytest.raises(InterruptedError):
            squares_stage(workspace, first)
        (parts,) = (tmp_path / "squares-checkpoints").iterdir()
        (parts / f"{UNFINISHED}part-00002.safetensors").write_text("killed")
        os.truncate(parts / "part-00000.safetensors", 80)
        stage = squares_stage(workspace, second)
    assert (first.computed, second.computed) == (TASKS[:2], [TASKS[0], TASKS[2]])
    assert np.load(stage.path / "squares.npy").tolist() == [number**2 for number in range(9)]
    assert np.load(stage.path / "sums.npy").tolist() == [6, 22, 8]
    assert {path.name for path in tmp_path.iterdir()} == {"squares"}


def test_a_full_disk_is_told_and_keeps_the_other_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(arrays: Arrays, file: Path) -> None:
        save_file(dict(arrays), file)
        if "part-00001" in file.name:
            raise SafetensorError("I/O error: No space left on device (os error 28)")

    work = Squares()
    with open_workspace(tmp_path, tmp_path) as workspace:
        with monkeypatch.context() as patched:
            patched.setattr("rqrec.training.runtime.parts.save_file", full)
            with pytest.raises(UserError, match=r"part-00001.* cannot be written .*No space left.*: free space there"):
                squares_stage(workspace, work)
        (parts,) = (tmp_path / "squares-checkpoints").iterdir()
        assert [path.name for path in parts.iterdir()] == ["part-00000.safetensors"]
        squares_stage(workspace, work)
    assert work.computed == [TASKS[0], TASKS[1], *TASKS[1:]]


def test_starting_over_makes_all_parts_again(tmp_path: Path) -> None:
    work = Squares()
    with open_workspace(tmp_path, tmp_path) as workspace, pytest.raises(InterruptedError):
        squares_stage(workspace, Squares(fails_at=TASKS[1]))
    with open_workspace(tmp_path, tmp_path, resume=False) as workspace:
        squares_stage(workspace, work)
    assert work.computed == TASKS


def test_a_stage_of_other_processes_is_not_run_but_its_result_is_read(tmp_path: Path) -> None:
    def squares_only(stage: str) -> bool:
        return stage == "squares"

    with open_workspace(tmp_path, tmp_path, may_run=squares_only) as workspace:
        squares_stage(workspace, Squares())
        with pytest.raises(StageElsewhere, match="other"):
            workspace.run("other", inputs=[], settings=Nothing(), write=lambda _: None)
    with open_workspace(tmp_path, tmp_path, may_run=lambda _: False) as workspace:
        assert squares_stage(workspace, Squares()).is_current
