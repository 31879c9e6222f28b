"""Measures how long it takes to find the ten items that are most like one, and to find titles by words.

    python -m benchmarks.support.similar_cost

The vectors have the width of the default recipe's (192) and spread as unevenly as those of MovieLens-100K. The result
is compared with that of all float32 vectors. All work is that of one thread. Its CPU time is printed beside the time on
the clock, because on a busy machine the two differ much.

Shapes: N items, D width.
"""

import resource
import time
from collections.abc import Callable
from functools import cache

import numpy as np
import polars as pl

from rqrec.models.array_types import FloatArray
from rqrec.models.nearest_vectors import NearestVectors
from rqrec.models.vector_index import unit_rows
from rqrec.service.browse.title_index import TitleIndex, read_query

WIDTH, K, ROUNDS = 192, 10, 30
GROUPS = 2000  # of items that are alike
DECAY = 32.0  # columns in which the spread falls to a third
SYLLABLES = ("ka", "lo", "mi", "ter", "sen", "da", "vor", "ni", "pel", "ru", "sta", "go", "zan", "fi", "be", "tho")
MOST_FREQUENT = 1.3  # exponent of the Zipf law of words
VOCABULARY = 200_000


def similar_ms_100k() -> float:
    """Returns the median time to find the 10 nearest of 100,000 vectors, in milliseconds."""
    return _similar_ms(100_000)


def similar_ms_1m() -> float:
    """Returns the median time to find the 10 nearest of a million vectors, in milliseconds."""
    return _similar_ms(1_000_000)


def search_titles_ms_1m() -> float:
    """Returns the median time to find the words of a query in a million titles, in milliseconds."""
    rng, index = np.random.default_rng(0), _title_index(1_000_000)
    titles = [index.titles[int(row)] for row in rng.integers(0, len(index), ROUNDS)]
    queries = [read_query(title[: max(len(title) // 2, 1)]) for title in titles]
    return _median_ms([lambda query=query: index.count_words(query) for query in queries])  # type: ignore[misc]


def _similar_ms(num_items: int) -> float:
    vectors_ND = _vectors(num_items)
    index = NearestVectors.empty(WIDTH, room=num_items).extended(vectors_ND.__getitem__, num_items)
    asked = np.random.default_rng(1).integers(0, num_items, ROUNDS)
    for row in asked[:3]:
        exact_N = unit_rows(vectors_ND) @ (vectors_ND[row] / np.linalg.norm(vectors_ND[row]))
        found = index.nearest(vectors_ND.__getitem__, vectors_ND[row], K)
        np.testing.assert_allclose(found.cosines_K, np.sort(exact_N)[::-1][:K], atol=1e-5)
    return _median_ms([lambda row=row: index.nearest(vectors_ND.__getitem__, vectors_ND[row], K) for row in asked])  # type: ignore[misc]


def _median_ms(calls: list[Callable[[], object]]) -> float:
    times, cpu_times = [], []
    for call in calls:
        begin, cpu_begin = time.perf_counter(), time.thread_time()
        call()
        times.append((time.perf_counter() - begin) * 1000)
        cpu_times.append((time.thread_time() - cpu_begin) * 1000)
    print(f"median CPU time of a call: {np.median(cpu_times):.2f} ms")
    return float(np.median(times))


@cache
def _vectors(num_items: int) -> FloatArray:
    """Item vectors in groups, with a spread that falls from column to column, turned by a random rotation."""
    rng = np.random.default_rng(0)
    spread_D = np.exp(-np.arange(WIDTH) / DECAY / 2).astype(np.float32)
    centres = rng.standard_normal((GROUPS, WIDTH), dtype=np.float32)
    vectors_ND = rng.standard_normal((num_items, WIDTH), dtype=np.float32)
    vectors_ND += centres[rng.integers(0, GROUPS, num_items)]
    turn_DD = np.linalg.qr(rng.standard_normal((WIDTH, WIDTH)))[0].astype(np.float32)
    return np.asarray((vectors_ND * spread_D) @ turn_DD, dtype=np.float32)


@cache
def _title_index(num_items: int) -> TitleIndex:
    """Titles of two to six words, whose frequencies follow a Zipf law."""
    rng = np.random.default_rng(0)
    words = np.array(["".join(rng.choice(SYLLABLES, rng.integers(1, 5))) for _ in range(VOCABULARY)])
    drawn = words[np.minimum(rng.zipf(MOST_FREQUENT, (num_items, 6)), VOCABULARY) - 1]
    lengths = rng.integers(2, 7, num_items)
    return TitleIndex.build(pl.Series([" ".join(row[:length]) for row, length in zip(drawn, lengths, strict=True)]))


def main() -> None:
    """Prints all figures."""
    for name, measure in (("100k", similar_ms_100k), ("1m", similar_ms_1m), ("titles 1m", search_titles_ms_1m)):
        begin = time.perf_counter()
        median_ms = measure()
        memory_gb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        print(f"{name}: {median_ms:.2f} ms; with its setup {time.perf_counter() - begin:.1f} s, {memory_gb:.1f} GB")


if __name__ == "__main__":
    main()
