from pathlib import Path

from benchmarks.explain import CAPS, EXPLAINED, KINDS, measure


def test_an_explained_list_takes_longer_but_not_for_ever(bundles: Path) -> None:
    times = measure(bundles, {name: KINDS[name] for name in (EXPLAINED, CAPS)}, requests=10)
    plain, explained = times[EXPLAINED]
    assert 0 < plain.fast_ms < explained.fast_ms < 100 * plain.fast_ms
    assert all(one.fast_ms > 0 for one in times[CAPS])
