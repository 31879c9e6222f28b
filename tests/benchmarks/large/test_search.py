import os

import pytest

from benchmarks.large.search import figures, measure, measure_apart


@pytest.mark.usefixtures("no_export")
def test_a_short_run_gives_every_figure() -> None:
    scale = measure(3_000, baseline_items=600, rounds=1, at_least_s=0.0)
    assert scale.num_items == 3_000
    assert 10 < scale.bytes_per_item < 100
    assert scale.filter_bytes_per_item > 4
    assert scale.peak_mib > 50
    assert all(value > 0 for value in figures([scale]).values())


def test_a_measurement_apart_runs_in_another_process() -> None:
    process: object = measure_apart(os.getpid)  # type: ignore[arg-type]
    assert isinstance(process, int)
    assert process != os.getpid()
