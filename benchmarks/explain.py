"""Measures how much longer a request takes if its list is explained, on a bundle of real data.

    python -m benchmarks.explain --bundle artifacts/ml-100k/bundles

A service runs as its operator starts it. One client asks it for the same lists with and without `explain`, in turn, so
that other load of the machine slows both equally. Histories have as many items as the model reads, up to 20.

The last line is JSON: `explain_ratio` is the median time with `explain` divided by the median time without, and
`similar_ms_100k` and `similar_ms_1m` are the times in which the items like one are found among so many. The table has
the CPU time of the service too, which several cores share if they are free.
"""

import argparse
import json
import os
import time
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.support.machine import description
from benchmarks.support.running import running_service
from benchmarks.support.similar_cost import similar_ms_1m, similar_ms_100k
from rqrec.models.bundle.bundle import Bundle, read_bundle

HISTORY, K, WARM_UP = 20, 10, 20


class Times(NamedTuple):
    """The times of one kind of request, in milliseconds.

    Attributes:
        wall_ms: The median time until the answer.
        fast_ms: The tenth percentile of the same, which other load of the machine disturbs less.
        cpu_ms: The mean CPU time of the service.
    """

    wall_ms: float
    fast_ms: float
    cpu_ms: float


def bodies_of(bundle: Bundle, count: int) -> list[dict[str, Any]]:
    """Returns requests after random histories, in which popular items are more frequent.

    Args:
        bundle: The bundle whose items are in the histories.
        count: Number of requests.
    """
    rng, item_ids = np.random.default_rng(0), bundle.items["item_id"].to_list()
    length = min(HISTORY, bundle.manifest.max_history)
    shares = (bundle.learned.popularity_R + 1.0) / (bundle.learned.popularity_R + 1.0).sum()
    rows = [rng.choice(len(item_ids), length, p=shares) for _ in range(count)]
    return [{"history": [item_ids[row] for row in history], "k": K} for history in rows]


def measure(bundle: Path, *, requests: int) -> tuple[Times, Times]:
    """Measures requests without and with `explain`, in turn.

    Args:
        bundle: A bundle, or a folder of bundles.
        requests: Number of requests of each kind.
    """
    bodies = bodies_of(read_bundle(bundle), WARM_UP + requests)
    wall_s: tuple[list[float], list[float]] = ([], [])
    cpu_s = [0.0, 0.0]
    with running_service({"RQREC_BUNDLE": str(bundle)}) as (url, process), httpx.Client(base_url=url) as client:
        for number, body in enumerate(bodies):
            for kind, explain in enumerate((False, True)):
                cpu_begin, begin = _cpu_s(process.pid), time.perf_counter()
                client.post("/recommend", json={**body, "explain": explain}).raise_for_status()
                if number >= WARM_UP:
                    wall_s[kind].append(time.perf_counter() - begin)
                    cpu_s[kind] += _cpu_s(process.pid) - cpu_begin
    plain, explained = (
        Times(float(1000 * np.median(one)), float(1000 * np.quantile(one, 0.1)), 1000 * cpu / requests)
        for one, cpu in zip(wall_s, cpu_s, strict=True)
    )
    return plain, explained


def _cpu_s(pid: int) -> float:
    """The CPU time of a process so far, in seconds; the clock of Linux counts hundredths."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Measures, and prints a table and one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, default=Path("artifacts/ml-100k/bundles"))
    parser.add_argument("--requests", type=int, default=300, help="of each kind (default 300)")
    arguments = parser.parse_args()
    plain, explained = measure(arguments.bundle, requests=arguments.requests)
    table = Table(
        "a request, ms", "median", "10th percentile", "CPU", title=f"k {K}, history {HISTORY}; {description()}"
    )
    for name, one in (("without explain", plain), ("with explain", explained)):
        table.add_row(name, *(f"{value:.2f}" for value in one))
    ratios = [one / other for one, other in zip(explained, plain, strict=True)]
    table.add_row("ratio", *(f"{ratio:.2f}" for ratio in ratios))
    Console(width=120).print(table)
    similar = {"similar_ms_100k": round(similar_ms_100k(), 2), "similar_ms_1m": round(similar_ms_1m(), 2)}
    print(json.dumps({"explain_ratio": round(ratios[0], 2), **similar}))


if __name__ == "__main__":
    main()
