from pathlib import Path

from benchmarks.hostile.strangers import faults, measure
from benchmarks.support.hostile_connections import ACTS


def test_strangers_cost_nobody_else_anything(bundles: Path) -> None:
    summary, seen = measure(bundles, seconds=5, seed=1)
    assert seen.wrong == []
    assert summary["mib"] < 200
    assert set(seen.kinds) <= set(ACTS)
    assert seen.statuses[200] > 0


def test_a_fault_is_told() -> None:
    good = {"wrong": 0.0, "slowest_probe_s": 0.1, "slowest_answer_s": 0.1, "mib": 10.0}
    assert list(faults(good)) == []
    assert list(faults(good | {"wrong": 1.0})) == ["wrong is 1.0, expected at most 0"]
    assert len(list(faults({"wrong": 1.0, "slowest_probe_s": 3.0, "slowest_answer_s": 3.0, "mib": 300.0}))) == 4
