"""The script of the guide, on the shared run."""

import runpy
import sys
from pathlib import Path

import pytest

from rqrec.training.run import Run

SCRIPT = Path(__file__).parents[2] / "docs" / "guide" / "steps.py"


def test_the_guide_shows_every_step_and_draws_its_figures(
    trained: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    work_dir = str(trained.workspace.root)
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), "--work-dir", work_dir, "--user", "3", "--figures", str(tmp_path)])
    runpy.run_path(str(SCRIPT), run_name="__main__")
    printed = capsys.readouterr().out
    assert [line[0] for line in printed.splitlines() if line[1:3] == ". " and line[0].isdigit()] == list("1234567")
    assert "all 64 items together have the probability 1.0000" in printed
    for name in ("residual", "gumbel", "first_code", "map", "validation", "loss"):
        svg = (tmp_path / f"{name}.svg").read_text(encoding="utf-8")
        assert svg.startswith("<svg ")
        assert "var(" not in svg
