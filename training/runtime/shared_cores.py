"""Warns if other work on the same CPU cores will make training slow.

The threads of one operation wait for each other at its end, and spin while they wait. If other work holds one of their
cores, every operation waits for that work: two threads beside one busy process took 5 to 60 times as long, and one
thread did not get slower.
"""

import logging
import os
import time
from pathlib import Path

import torch

LOOKS, PAUSE_S = 5, 0.05  # work that runs in all looks is not there by chance
LOAD = Path("/proc/loadavg")  # of Linux: its fourth field is "running/all" threads
logger = logging.getLogger("rqrec")


def warn_of_shared_cores() -> None:
    """Logs a warning if this process has several threads, but fewer CPU cores are free. Works on Linux only."""
    cores, threads = os.cpu_count() or 1, torch.get_num_threads()
    if threads == 1 or not LOAD.exists():
        return
    others = min(_others_running() for _ in range(LOOKS))
    if others + threads > cores:
        logger.warning(
            "other work runs on about %d of %d cores: training on %d threads may take many times as long; start the "
            "command with OMP_NUM_THREADS=%d in front of it",
            *(min(others, cores), cores, threads, max(cores - others, 1)),
        )


def _others_running() -> int:
    time.sleep(PAUSE_S)
    running, _, _ = LOAD.read_text().split()[3].partition("/")
    return int(running) - 1  # without this thread, which is reading
