"""Measures how many requests a second the service answers, and how fast, under load from outside.

    python -m benchmarks.load --dataset ml-100k --bundle artifacts/ml-100k/bundles

Starts the service as in the README, with a trained bundle, and loads it with the histories of its data set's users, by
wrk (Debian: apt-get install wrk) on the same machine. First each connection waits for its answers, at several numbers
of connections. Then requests are sent at twice the rate of the knee, without waiting. The knee is the smallest number
of connections with 95 % of the best rate. Last, the same service with transformers.generate in its place is measured.
"""

import argparse
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

import httpx
from rich.console import Console
from rich.table import Table

from benchmarks.support.machine import description
from benchmarks.support.running import SERVICE, running_service
from benchmarks.support.wrk import BEAM_WIDTH, HISTORY, K, Measured, add_arguments, load, require_wrk, write_bodies
from rqrec.models.bundle.bundle import read_bundle

CONNECTIONS = (1, 8, 32, 128)
OVERLOAD_CONNECTIONS, OVERLOAD = 512, 2.0
KNEE_SHARE = 0.95
PEER = ("-m", "benchmarks.support.peer.service")


def knee(rows: Sequence[Measured]) -> Measured:
    """Returns the load with the fewest connections that reaches 95 % of the best rate."""
    best = max(row.rps for row in rows)
    return next(row for row in rows if row.rps >= KNEE_SHARE * best)


def measure(bundle: Path, bodies: Path, *, seconds: float, module: Sequence[str] = SERVICE) -> list[Measured]:
    """Runs all loads on one service. The last one is the overload.

    Args:
        bundle: A bundle, or a folder of bundles.
        bodies: A file of request bodies, one a line.
        seconds: Duration of one load in seconds.
        module: The arguments of Python, which name the service's module.
    """
    with running_service({"RQREC_BUNDLE": str(bundle)}, module=module) as (url, _process):
        load(url, bodies, connections=CONNECTIONS[-1], seconds=min(seconds, 3))  # warms up
        rows = [load(url, bodies, connections=connections, seconds=seconds) for connections in CONNECTIONS]
        rate = OVERLOAD * knee(rows).rps
        rows.append(load(url, bodies, connections=OVERLOAD_CONNECTIONS, seconds=seconds, rate=rate))
        httpx.get(f"{url}/readyz").raise_for_status()
    return rows


def print_rows(rows: Sequence[Measured], title: str) -> None:
    """Prints the loads as a table.

    Args:
        rows: The results; the last one is of the overload.
        title: The table's title.
    """
    table = Table(title=title, title_justify="left")
    for name in ("connections", "sent/s", "answered/s", "shed/s", "p50 ms", "p99 ms", "p99.9 ms", "errors"):
        table.add_column(name, justify="right")
    for number, row in enumerate(rows):
        paced = " at twice the knee" if number == len(rows) - 1 else ""
        latencies = (f"{value:.2f}" for value in (row.p50_ms, row.p99_ms, row.p999_ms))
        rates = (f"{rate:.0f}" for rate in (row.sent_rps, row.rps, row.shed_rps))
        table.add_row(f"{row.connections}{paced}", *rates, *latencies, str(row.errors))
    Console(width=120).print(table)


def summary(rows: Sequence[Measured]) -> dict[str, float]:
    """Returns the figures that the targets are about."""
    at_knee, overload = knee(rows[:-1]), rows[-1]
    return {
        "rps": round(max(row.rps for row in rows[:-1])),
        "p50_ms_c1": round(rows[0].p50_ms, 2),
        "p99_ms": round(at_knee.p99_ms, 1),
        "overload_goodput_ratio": round(overload.rps / at_knee.rps, 3),
        "errors": sum(row.errors for row in rows),
    }


def main() -> None:
    """Measures, and prints the tables and one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser)
    parser.add_argument("--seconds", type=float, default=15, help="length of one load (default 15)")
    parser.add_argument("--history", type=int, default=HISTORY, help=f"most items of a history (default {HISTORY})")
    parser.add_argument("--no-peer", action="store_true", help="leave transformers.generate out")
    arguments = parser.parse_args()
    require_wrk(parser)
    version = read_bundle(arguments.bundle).manifest.version
    with tempfile.TemporaryDirectory() as folder:
        bodies = Path(folder) / "bodies.jsonl"
        write_bodies(arguments.dataset, bodies, history=arguments.history)
        rows = measure(arguments.bundle, bodies, seconds=arguments.seconds)
        sizes = f"history {arguments.history}, k {K}, beam {BEAM_WIDTH}"
        print_rows(rows, f"{version}, {sizes}; {description()}; wrk on one thread")
        if not arguments.no_peer:
            peer = measure(arguments.bundle, bodies, seconds=arguments.seconds, module=PEER)
            print_rows(peer, "the same with transformers.generate (T5 4 + 4, width 128, random weights)")
            print(json.dumps({"peer": summary(peer)}))
    print(json.dumps(summary(rows)))


if __name__ == "__main__":
    main()
