"""Measures how latency, memory and build time of the search grow from ten thousand to ten million items.

    python -m benchmarks.large.search

Model and beam are the same at every size: the default configuration's, with random weights. Semantic IDs are as skewed
as real ones. Every size runs in a process of its own, so each peak of memory belongs to one size. The smallest
catalogue is measured in turn with each larger one.
"""

import argparse
import json
import multiprocessing
import resource
import tempfile
import time
from collections.abc import Callable
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.search import DefaultModel, Ours, random_histories
from benchmarks.support.machine import description, median_seconds
from benchmarks.support.synthetic import CODEBOOK_SIZE, synthetic_codes
from rqrec.models.search.eligibility import Eligibility
from rqrec.models.trie.trie import SemanticIdTrie

SIZES = (10_000, 100_000, 1_000_000, 10_000_000)
BEAM_WIDTH, KEPT_SHARE = 20, 0.01
BYTES_PER_MIB = 1 << 20


class Scale(NamedTuple):
    """The results for one size.

    Attributes:
        num_items: Number of items in the catalogue.
        latency_ms: Time of one search with every item eligible.
        filtered_ms: Time of one search with a filter that 1 % of the items pass.
        baseline_ms: Time of one search over the smallest catalogue, measured in turn with the two others.
        bytes_per_item: Size of all arrays of the trie.
        filter_bytes_per_item: Size of a cached filter.
        build_s: Seconds from codes to the trie.
        filter_s: Seconds from a mask to a filter.
        peak_mib: Peak resident memory of the process, with the item vectors and the making of the catalogue.
    """

    num_items: int
    latency_ms: float
    filtered_ms: float
    baseline_ms: float
    bytes_per_item: float
    filter_bytes_per_item: float
    build_s: float
    filter_s: float
    peak_mib: float


def measure(num_items: int, *, baseline_items: int, rounds: int, at_least_s: float) -> Scale:
    """Measures one size in this process.

    Args:
        num_items: Number of items in the catalogue.
        baseline_items: Number of items in the smallest catalogue.
        rounds: Turns of each measurement.
        at_least_s: Smallest duration of a turn in seconds.
    """
    rng = np.random.default_rng(0)
    codes_NL = synthetic_codes(num_items, seed=0)
    begin = time.perf_counter()
    trie = SemanticIdTrie.build(codes_NL, codebook_size=CODEBOOK_SIZE)
    trie_bytes = trie.nbytes  # includes the paths, which are computed here
    build_s = time.perf_counter() - begin
    baseline = SemanticIdTrie.build(synthetic_codes(baseline_items, seed=0), codebook_size=CODEBOOK_SIZE)
    with tempfile.TemporaryDirectory() as name:
        model = DefaultModel(baseline, Path(name))
        large, small = Ours(model, trie, threads=1), Ours(model, baseline, threads=1)
    begin = time.perf_counter()
    kept = Eligibility.from_mask(trie, rng.random(num_items) < KEPT_SHARE)
    filter_s = time.perf_counter() - begin
    history_BT = random_histories(rng, 1, baseline_items)
    elsewhere_BT = np.sort(history_BT * (num_items // baseline_items))
    runs: dict[str, Callable[[], object]] = {
        "all": large.search(elsewhere_BT, beam_width=BEAM_WIDTH),
        "filtered": large.search(elsewhere_BT, beam_width=BEAM_WIDTH, eligibility=kept),
        "baseline": small.search(history_BT, beam_width=BEAM_WIDTH),
    }
    milliseconds = {
        name: 1000 * seconds for name, seconds in median_seconds(runs, rounds=rounds, at_least_s=at_least_s).items()
    }
    return Scale(
        num_items=num_items,
        latency_ms=milliseconds["all"],
        filtered_ms=milliseconds["filtered"],
        baseline_ms=milliseconds["baseline"],
        bytes_per_item=trie_bytes / num_items,
        filter_bytes_per_item=kept.nbytes / num_items,
        build_s=build_s,
        filter_s=filter_s,
        peak_mib=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / BYTES_PER_MIB,
    )


def measure_apart(run: Callable[[], Scale]) -> Scale:
    """Runs a measurement in a new process."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_send, args=(sender, run))
    process.start()
    sender.close()
    try:
        found: Scale = receiver.recv()
    finally:
        process.join()
    return found


def _send(sender: Connection, run: Callable[[], Scale]) -> None:
    sender.send(run())


def figures(scales: list[Scale]) -> dict[str, float]:
    """Returns the figures that the targets are about: the largest catalogue compared with the smallest."""
    largest = scales[-1]
    return {
        "latency_ratio_10m": largest.latency_ms / largest.baseline_ms,
        "bytes_per_item": largest.bytes_per_item,
        "build_s_10m": largest.build_s,
        "filtered_latency_ratio_10m": largest.filtered_ms / largest.baseline_ms,
        "filtered_over_unfiltered_10m": largest.filtered_ms / largest.latency_ms,
    }


def main() -> None:
    """Measures, and prints the table and one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9, help="turns of each measurement (default 9)")
    arguments = parser.parse_args()
    scales = [
        measure_apart(partial(measure, size, baseline_items=SIZES[0], rounds=arguments.rounds, at_least_s=0.3))
        for size in track(SIZES, description="catalogues", transient=True)
    ]
    table = Table(title=f"beam {BEAM_WIDTH}, one request, one thread; {description()}", title_justify="left")
    columns = ("items", "ms", "ms, 1 % eligible", "ms at 10,000 beside it", "ratio", "ratio, 1 % eligible")
    for heading in (*columns, "trie B/item", "filter B/item", "build s", "filter s", "peak MiB"):
        table.add_column(heading, justify="right")
    for scale in scales:
        table.add_row(
            f"{scale.num_items:,}",
            f"{scale.latency_ms:.3f}",
            f"{scale.filtered_ms:.3f}",
            f"{scale.baseline_ms:.3f}",
            f"{scale.latency_ms / scale.baseline_ms:.2f}",
            f"{scale.filtered_ms / scale.baseline_ms:.2f}",
            f"{scale.bytes_per_item:.1f}",
            f"{scale.filter_bytes_per_item:.1f}",
            f"{scale.build_s:.2f}",
            f"{scale.filter_s:.2f}",
            f"{scale.peak_mib:,.0f}",
        )
    Console(width=150).print(table)
    print(json.dumps({name: round(value, 3) for name, value in figures(scales).items()}))


if __name__ == "__main__":
    main()
