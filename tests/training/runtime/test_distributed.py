"""Any number of processes trains to the weights of one: shown in float64, where rounding cannot decide it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from benchmarks.support.running import free_port
from rqrec.training.runtime.distributed import TooFewGpus, init
from tests.conftest import SMALL_CONFIG
from tests.training.forked import start, start_command
from tests.training.runtime.processes import run_task

REPOSITORY = Path(__file__).parents[3]
RELATIVE_ROUNDING, ABSOLUTE_ROUNDING = 1e-9, 1e-12
ON_THE_CPU = {"CUDA_VISIBLE_DEVICES": ""}  # everywhere: two ranks need two GPUs, and a GPU rounds in another order
Weights = dict[str, torch.Tensor]


def compute(task: str, argument: object, folder: Path, *, processes: int) -> list[Weights]:
    """What every process came to in a task of processes.py. They find each other as those of torchrun do."""
    out = folder / f"{task}-{argument}-{processes}".replace("/", "_")
    together = {"WORLD_SIZE": str(processes), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    started = [
        start(run_task, task, out, str(argument), folder=folder, environment={**ON_THE_CPU, **together, **ranks})
        for ranks in ({"RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(processes))
    ]
    for fork in started:
        ended = fork.finish()
        assert ended.returncode == 0, ended.stderr
    return [torch.load(f"{out}-{number}.pt", weights_only=True) for number in range(processes)]


def assert_equal(one: Weights, other: Weights) -> None:
    assert one.keys() == other.keys()
    for name, tensor in one.items():
        assert tensor.dtype == torch.float64
        torch.testing.assert_close(other[name], tensor, rtol=RELATIVE_ROUNDING, atol=ABSOLUTE_ROUNDING, msg=name)


@pytest.fixture(scope="module")
def gradients(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, int, int], list[Weights]]:
    """The gradients in each process, by model, number of processes and of accumulated parts.

    One start of the processes computes them all.
    """
    found: dict[tuple[str, int, int], list[Weights]] = {}
    # 26 parts are more than the batch has items or windows.
    for processes, parts in ((1, "1,3"), (2, "1,13")):
        for weights in compute("gradients", parts, tmp_path_factory.mktemp("gradients"), processes=processes):
            by_case: dict[tuple[str, int, int], Weights] = {}
            for name, gradient in weights.items():
                model, accumulate, parameter = name.split("/")
                by_case.setdefault((model, processes, int(accumulate)), {})[parameter] = gradient
            for case, of_process in by_case.items():
                found.setdefault(case, []).append(of_process)
    return found


@pytest.mark.parametrize("model", ["rqvae", "short_term", "retriever"])
def test_two_processes_and_accumulation_have_the_gradients_of_one(
    model: str, gradients: dict[tuple[str, int, int], list[Weights]]
) -> None:
    (whole,) = gradients[model, 1, 1]
    assert len(whole) > 10
    assert all(gradient.any() for gradient in whole.values())
    for processes, accumulate in ((2, 1), (1, 3), (2, 13)):
        of_processes = gradients[model, processes, accumulate]
        assert len(of_processes) == processes
        for one in of_processes:
            assert_equal(whole, one)


def test_every_process_starts_from_the_weights_of_the_first(tmp_path: Path) -> None:
    (alone,) = compute("start", tmp_path / "alone", tmp_path, processes=1)
    for weights in compute("start", tmp_path / "together", tmp_path, processes=2):
        assert all(torch.equal(weights[name], tensor) for name, tensor in alone.items())


@pytest.mark.parametrize(("before", "after"), [(2, 1), (1, 2)])
def test_a_stopped_training_goes_on_in_another_number_of_processes(before: int, after: int, tmp_path: Path) -> None:
    (whole,) = compute("whole", tmp_path / "whole", tmp_path, processes=1)
    compute("stopped", tmp_path / "stopped", tmp_path, processes=before)
    assert [path.name for path in (tmp_path / "stopped" / "c").iterdir()] == ["step-00000003"]
    for weights in compute("whole", tmp_path / "stopped", tmp_path, processes=after):
        assert_equal(whole, weights)


def test_the_command_goes_on_with_another_number_of_processes(shop: Path, tmp_path: Path) -> None:
    config, work = tmp_path / "small.gin", tmp_path / "work"
    longer = ("RqVaeSettings.steps = 1000", "RqVaeSettings.checkpoint_every_steps = 50")
    config.write_text("\n".join([*SMALL_CONFIG, *longer]))
    words = ["train-rqvae", str(config), "--dataset", str(shop), "--work-dir", str(work)]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    with subprocess.Popen(
        [*torchrun, "-m", "rqrec", *words],
        cwd=REPOSITORY,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY), **ON_THE_CPU},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as stopped:
        while not list(work.glob("rqvae-checkpoints/*/step-*")):
            assert stopped.poll() is None, stopped.communicate()
            time.sleep(0.02)
        stopped.send_signal(signal.SIGTERM)
        stopped.communicate(timeout=120)
    assert stopped.returncode != 0
    assert not (work / "rqvae").exists()
    ended = start_command(*words, folder=tmp_path).finish()
    assert ended.returncode == 0, ended.stderr
    assert "resuming from step " in ended.stderr
    assert (work / "rqvae" / "rqvae.safetensors").is_file()
    assert not list(work.glob("*-checkpoints"))


def test_more_processes_than_gpus_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "LOCAL_RANK": "1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(TooFewGpus, match="each of the 2 processes on this machine, got 1: .* --nproc-per-node=1"):
        init()
