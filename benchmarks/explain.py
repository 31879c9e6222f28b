"""Measures how much longer a request takes if its list is explained or controlled, on a bundle of real data.

    python -m benchmarks.explain --bundle artifacts/ml-100k/bundles

A service runs as its operator starts it. One client asks it for the same lists as they are and explained, in turn, so
that other load of the machine slows both equally; then the same with each kind of list control. Histories have as many
items as the model reads, up to 20. The controls suit MovieLens.

The last line is JSON: `explain_ratio` is the median time with `explain` divided by the median time without,
`caps_ratio` the same for two items of each genre, and `similar_ms_100k` and `similar_ms_1m` are the times in which the
items like one are found among so many. The table has the CPU time of the service too, which several cores share if they
are free.
"""

import argparse
import json
import os
import time
from collections.abc import Mapping, Sequence
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
EXPLAINED, CAPS = "explained", "2 items of each genre"
KINDS: Mapping[str, Mapping[str, Any]] = {  # the fields of each kind of request
    EXPLAINED: {"explain": True},
    CAPS: {"caps": {"genres": 2}},
    "3 items of each genre": {"caps": {"genres": 3}},
    "a boost of many items": {"boosts": [{"filter": {"genres": {"any_of": ["Comedy"]}}, "factor": 1.5}]},
    "a boost of few items": {"boosts": [{"filter": {"genres": {"any_of": ["Western"]}}, "factor": 1.5}]},
    "2 pins": {"pins": [{"item_id": "50", "rank": 1}, {"item_id": "100", "rank": 5}]},
    "diversity 0.3": {"diversity": 0.3},
}


class Times(NamedTuple):
    """The times of requests, in milliseconds.

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


def measure(bundle: Path, kinds: Mapping[str, Mapping[str, Any]], *, requests: int) -> dict[str, tuple[Times, Times]]:
    """Measures kinds of requests, each in turn with requests as they are.

    Args:
        bundle: A bundle, or a folder of bundles.
        kinds: The fields that each kind of request has beside the history, by name.
        requests: Number of requests of each kind.

    Returns:
        For each kind, the times of the requests as they are, and of those with the fields.
    """
    bodies = bodies_of(read_bundle(bundle), WARM_UP + requests)
    with running_service({"RQREC_BUNDLE": str(bundle)}) as (url, process), httpx.Client(base_url=url) as client:
        return {name: _in_turn(client, process.pid, bodies, fields) for name, fields in kinds.items()}


def _in_turn(
    client: httpx.Client, pid: int, bodies: Sequence[Mapping[str, Any]], fields: Mapping[str, Any]
) -> tuple[Times, Times]:
    """The times of requests without and with some fields; the first `WARM_UP` bodies do not count."""
    wall_s: tuple[list[float], list[float]] = ([], [])
    cpu_s = [0.0, 0.0]
    for number, body in enumerate(bodies):
        for kind, more in enumerate(({}, fields)):
            cpu_begin, begin = _cpu_s(pid), time.perf_counter()
            client.post("/recommend", json={**body, **more}).raise_for_status()
            if number >= WARM_UP:
                wall_s[kind].append(time.perf_counter() - begin)
                cpu_s[kind] += _cpu_s(pid) - cpu_begin
    plain, other = (
        Times(float(1000 * np.median(one)), float(1000 * np.quantile(one, 0.1)), 1000 * cpu / len(one))
        for one, cpu in zip(wall_s, cpu_s, strict=True)
    )
    return plain, other


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
    times = measure(arguments.bundle, KINDS, requests=arguments.requests)
    table = Table("a request, ms", title=f"k {K}, history {HISTORY}; {description()}")
    for heading in ("median", "10th percentile", "CPU"):
        table.add_column(heading, justify="right")
        table.add_column("as it is", justify="right")
        table.add_column("ratio", justify="right")
    for name, (plain, other) in times.items():
        cells = zip(other, plain, strict=True)
        table.add_row(name, *(text for ms, base in cells for text in (f"{ms:.2f}", f"{base:.2f}", f"{ms / base:.2f}")))
    Console(width=120).print(table)
    similar = {"similar_ms_100k": round(similar_ms_100k(), 2), "similar_ms_1m": round(similar_ms_1m(), 2)}
    ratios = {name: round(other.wall_ms / plain.wall_ms, 2) for name, (plain, other) in times.items()}
    print(json.dumps({"explain_ratio": ratios[EXPLAINED], **similar, "caps_ratio": ratios[CAPS]}))


if __name__ == "__main__":
    main()
