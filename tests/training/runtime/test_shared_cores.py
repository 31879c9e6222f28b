"""A training that must share its cores says how to go on."""

from pathlib import Path

import pytest
import torch

from rqrec.training.runtime import shared_cores


@pytest.mark.parametrize(
    ("running", "threads", "advice"),
    [
        (1, 4, None),  # this thread alone
        (2, 4, "OMP_NUM_THREADS=3"),
        (9, 4, "OMP_NUM_THREADS=1"),
        (4, 1, None),  # one thread waits for nobody
        (3, 2, None),  # there are cores for all
    ],
)
def test_a_warning_names_the_threads_that_have_cores(
    running: int,
    threads: int,
    advice: str | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    load = tmp_path / "loadavg"
    load.write_text(f"0.50 0.40 0.30 {running}/321 4711\n")
    monkeypatch.setattr(shared_cores, "LOAD", load)
    monkeypatch.setattr(shared_cores, "PAUSE_S", 0.0)
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    monkeypatch.setattr("os.cpu_count", lambda: 4)
    shared_cores.warn_of_shared_cores()
    assert bool(caplog.messages) == (advice is not None)
    assert advice is None or advice in caplog.text
