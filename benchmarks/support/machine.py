"""What this machine can do, and how a benchmark measures on one that others share."""

import platform
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch

GEMM_SIZE = 1024
CPU_INFO = Path("/proc/cpuinfo")


def median_seconds(
    runs: Mapping[str, Callable[[], object]], *, rounds: int, at_least_s: float, warm_up: bool = True
) -> dict[str, float]:
    """Times several things in turn, again and again, so that what slows the machine down for a while slows them all.

    Args:
        runs: What to time, by name.
        rounds: How often each has its turn.
        at_least_s: A turn repeats what is quicker than this, and counts the median of its repetitions.
        warm_up: Whether each is run twice before.

    Returns:
        The median over the rounds, seconds of one call.
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
    """One large float32 matrix product on all cores."""
    torch.mm(_SQUARE, _SQUARE)


GEMM_FLOPS = 2 * GEMM_SIZE**3
_SQUARE = torch.ones(GEMM_SIZE, GEMM_SIZE)


def description() -> str:
    """The processor and the number of cores, for the head of a table."""
    names = [
        line.split(":", 1)[1].strip() for line in CPU_INFO.read_text().splitlines() if line.startswith("model name")
    ]
    processor = names[0] if names else platform.processor()
    return f"{processor}, {torch.get_num_threads()} threads, torch {torch.__version__}"
