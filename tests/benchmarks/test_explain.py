from pathlib import Path

from benchmarks.explain import measure


def test_an_explained_list_takes_longer_but_not_for_ever(bundles: Path) -> None:
    plain, explained = measure(bundles, requests=10)
    assert 0 < plain.fast_ms < explained.fast_ms < 100 * plain.fast_ms
