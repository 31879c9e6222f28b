from pathlib import Path

from benchmarks.explain import CAPS, EXPLAINED, KINDS, PLAIN, measure


def test_an_explained_list_takes_longer_but_not_for_ever(bundles: Path) -> None:
    times = measure(bundles, {name: KINDS[name] for name in (PLAIN, EXPLAINED, CAPS)}, requests=10)
    assert 0 < times[PLAIN].fast_ms < times[EXPLAINED].fast_ms < 100 * times[PLAIN].fast_ms
    assert times[CAPS].cpu_ms > 0
