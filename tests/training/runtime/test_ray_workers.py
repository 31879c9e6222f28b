"""Workers of Ray Train train to the weights of one process, also if one of them is lost."""

import importlib.util
from functools import partial
from pathlib import Path

import pytest
import torch

from tests.training.forked import start
from tests.training.runtime.processes import run_task, write_result
from tests.training.runtime.test_distributed import ON_THE_CPU, REPOSITORY, assert_equal

pytestmark = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="the extra ray is not installed")


def train_toy(folder: str) -> None:
    """Trains on Ray in a process of its own, because Ray changes the process that it runs in."""
    from rqrec.models.ray_cluster import ray_cluster  # noqa: PLC0415 - skipped without the extra
    from rqrec.training.runtime.ray_workers import train_on_ray  # noqa: PLC0415 - skipped without the extra

    out = Path(folder) / "together"
    work = partial(write_result, "killed", out, folder)
    with ray_cluster("local", shows_output=True):
        train_on_ray(work, workers=2, files=Path(folder) / "ray")


def test_workers_have_the_weights_of_one_process_after_one_was_killed(tmp_path: Path) -> None:
    alone = start(run_task, "whole", tmp_path / "alone", str(tmp_path / "a"), folder=tmp_path, environment=ON_THE_CPU)
    assert alone.finish().returncode == 0
    shared = {**ON_THE_CPU, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
    together = start(train_toy, str(tmp_path), folder=tmp_path, environment=shared)
    ended = together.finish()
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert (tmp_path / "killed").exists()
    expected = torch.load(tmp_path / "alone-0.pt", weights_only=True)
    for rank in range(2):
        assert_equal(expected, torch.load(tmp_path / f"together-{rank}.pt", weights_only=True))
    assert not (tmp_path / "ray").exists()
