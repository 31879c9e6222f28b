"""Describes this machine, and measures time and memory on a machine that other programs use too."""

import platform
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch

GEMM_SIZE = 1024
MIB = 1 << 20
CPU_INFO = Path("/proc/cpuinfo")


def median_seconds(
    runs: Mapping[str, Callable[[], object]], *, rounds: int, at_least_s: float, warm_up: bool = True
) -> dict[str, float]:
    """Times several functions in turn, over several rounds. So a slow phase of the machine slows all of them equally.

    Args:
        runs: The functions by name.
        rounds: Number of rounds. Each function has one turn a round.
        at_least_s: A turn repeats a function until it has taken this long in all, in seconds. The turn counts the
            median.
        warm_up: Whether each function is first called twice.

    Returns:
        Seconds of one call by name, as a median over the rounds.
    """
    turns: dict[str, list[float]] = {name: [] for name in runs}
    if warm_up:
        for run in runs.values():
            run()
            run()
    for _ in range(rounds):
        for name, run in runs.items():
            samples: list[float] = []
            while not samples or sum(samples) < at_least_s:
                begin = time.perf_counter()
                run()
                samples.append(time.perf_counter() - begin)
            turns[name].append(float(np.median(samples)))
    return {name: float(np.median(samples)) for name, samples in turns.items()}


def gemm() -> None:
    """Computes one large float32 matrix product on all cores."""
    torch.mm(_SQUARE, _SQUARE)


GEMM_FLOPS = 2 * GEMM_SIZE**3
_SQUARE = torch.ones(GEMM_SIZE, GEMM_SIZE)


def description() -> str:
    """Returns the processor, the number of threads and torch's version, for the title of a table."""
    names = [
        line.split(":", 1)[1].strip() for line in CPU_INFO.read_text().splitlines() if line.startswith("model name")
    ]
    processor = names[0] if names else platform.processor()
    return f"{processor}, {torch.get_num_threads()} threads, torch {torch.__version__}"


def resident_mib(pid: int) -> float:
    """Returns the resident memory of a process in MiB."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    kib = next(line for line in status.splitlines() if line.startswith("VmRSS:")).split()[1]
    return int(kib) * 1024 / MIB
