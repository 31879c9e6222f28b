from dataclasses import replace

import numpy as np
import pytest

from rqrec.models.search.eligibility import Eligibility
from rqrec.models.search.popularity import Popularity
from rqrec.models.trie.trie import SemanticIdTrie


def test_the_most_popular_items_of_a_large_catalogue_take_no_look_at_the_others() -> None:
    popularity = Popularity.from_counts(np.arange(100_000) % 1000)
    everything = Eligibility.everything(SemanticIdTrie.build(np.arange(100_000)[:, None], codebook_size=100_000))
    looked_at = _CountingOrder(popularity.order_N)
    counting = replace(popularity, order_N=looked_at)  # type: ignore[arg-type]
    best = counting.best(everything, 10, np.arange(5) * 1000 + 999)
    assert best.places_X.tolist() == [1000 * number + 999 for number in range(5, 15)]
    assert looked_at.count <= 1000


def test_few_eligible_items_are_found_in_the_same_order(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    counts = rng.integers(0, 20, 5000)
    popularity = Popularity.from_counts(counts)
    trie = SemanticIdTrie.build(np.arange(5000)[:, None], codebook_size=5000)
    few = Eligibility.from_mask(trie, rng.random(5000) < 0.01)
    excluded = np.flatnonzero(few.mask_N)[:7]
    quick = popularity.best(few, 30, excluded)
    monkeypatch.setattr("rqrec.models.search.popularity.FEW", 5000)  # the other way
    thorough = popularity.best(few, 30, excluded)
    assert quick.places_X.tolist() == thorough.places_X.tolist()
    assert quick.log_shares_X.tolist() == thorough.log_shares_X.tolist()
    expected = sorted(
        set(np.flatnonzero(few.mask_N).tolist()) - {*excluded.tolist()}, key=lambda leaf: (-counts[leaf], leaf)
    )
    assert quick.places_X.tolist() == expected[:30]


class _CountingOrder:
    """An order that counts the entries that are read."""

    def __init__(self, order_N: np.ndarray) -> None:
        self.order_N, self.count = order_N, 0

    def __len__(self) -> int:
        return len(self.order_N)

    def __getitem__(self, part: slice) -> np.ndarray:
        self.count += len(self.order_N[part])
        return self.order_N[part]
