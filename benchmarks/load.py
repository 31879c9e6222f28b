"""How many requests a second the service answers, and how fast, under load from outside.

    python -m benchmarks.load --dataset ml-100k --bundle artifacts/ml-100k/bundles

Starts the service as the README does, with a trained bundle and the histories of its data set's users, and loads it
with wrk (Debian: apt-get install wrk) on the same machine: a closed loop at several numbers of connections, then twice
the rate of the knee, sent without waiting for answers. The knee is the fewest connections with 95 % of the best rate.
The same service with transformers.generate in its place is measured last.
"""

import argparse
import json
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx
from rich.console import Console
from rich.table import Table

from benchmarks.machine import description
from benchmarks.running import SERVICE, running_service
from rqrec.models.bundle.bundle import read_bundle
from rqrec.training.data.sources import load_dataset
from rqrec.training.data.splits import leave_one_out, user_sequences

DATA_DIR = Path("artifacts/data")
CONNECTIONS = (1, 8, 32, 128)
OVERLOAD_CONNECTIONS, OVERLOAD = 512, 2.0
KNEE_SHARE = 0.95
K, BEAM_WIDTH, HISTORY = 10, 20, 20
LUA, PACED_LUA = (Path(__file__).with_name(name) for name in ("load.lua", "load_paced.lua"))
PEER = ("-m", "benchmarks.peer_service")


@dataclass(frozen=True)
class Measured:
    """What wrk saw at one load.

    Attributes:
        connections: How many.
        rps: Requests answered 200, a second.
        shed_rps: Requests answered 429, a second.
        sent_rps: Requests answered in any way, a second.
        p50_ms: Median latency of all answers.
        p99_ms: 99th percentile.
        p999_ms: 99.9th percentile.
        errors: Other answers, broken connections, and 429s without Retry-After.
    """

    connections: int
    rps: float
    shed_rps: float
    sent_rps: float
    p50_ms: float
    p99_ms: float
    p999_ms: float
    errors: int


def write_bodies(dataset: str, file: Path) -> None:
    """Writes a request a line: the last items of each user of a data set, without the held-out ones."""
    data = load_dataset(dataset, data_dir=DATA_DIR)
    histories = leave_one_out(user_sequences(data)).test.histories
    item_ids = data.items["item_id"].to_list()
    with file.open("w", encoding="utf-8") as out:
        for begin, end in zip(histories.offsets_U[:-1], histories.offsets_U[1:], strict=True):
            history = [item_ids[item] for item in histories.items_I[max(begin, end - HISTORY) : end]]
            out.write(json.dumps({"history": history, "k": K, "beam_width": BEAM_WIDTH}) + "\n")


def load(url: str, bodies: Path, *, connections: int, seconds: float, rate: float | None = None) -> Measured:
    """Loads the service.

    Args:
        url: Its address.
        bodies: A file of request bodies, one a line.
        connections: How many.
        seconds: How long.
        rate: Requests a second to send; None to send each when the one before is answered.
    """
    pace = [] if rate is None else [str(rate)]
    script = LUA if rate is None else PACED_LUA
    options = ["-t1", f"-c{connections}", f"-d{seconds:.0f}s", "--timeout", "30s", "-s", str(script)]
    command = ["wrk", *options, url, "--", str(bodies), *pace]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    found = json.loads(next(line for line in output.splitlines() if line.startswith("{")))
    return Measured(
        connections,
        rps=found["ok"] / found["seconds"],
        shed_rps=found["shed"] / found["seconds"],
        sent_rps=(found["ok"] + found["shed"] + found["errors"]) / found["seconds"],
        p50_ms=found["p50_ms"],
        p99_ms=found["p99_ms"],
        p999_ms=found["p999_ms"],
        errors=found["errors"] + found["shed"] - found["retry_after"],
    )


def knee(rows: Sequence[Measured]) -> Measured:
    """The load with the fewest connections that reaches nearly the best rate."""
    best = max(row.rps for row in rows)
    return next(row for row in rows if row.rps >= KNEE_SHARE * best)


def measure(bundle: Path, bodies: Path, *, seconds: float, module: Sequence[str] = SERVICE) -> list[Measured]:
    """All loads on one run of the service; the last one is the overload."""
    with running_service({"RQREC_BUNDLE": str(bundle)}, module=module) as (url, _process):
        load(url, bodies, connections=CONNECTIONS[-1], seconds=min(seconds, 3))  # warms up
        rows = [load(url, bodies, connections=connections, seconds=seconds) for connections in CONNECTIONS]
        rate = OVERLOAD * knee(rows).rps
        rows.append(load(url, bodies, connections=OVERLOAD_CONNECTIONS, seconds=seconds, rate=rate))
        httpx.get(f"{url}/readyz").raise_for_status()
    return rows


def print_rows(rows: Sequence[Measured], title: str) -> None:
    """Prints the loads as a table."""
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
    """The line that the targets are read from."""
    at_knee, overload = knee(rows[:-1]), rows[-1]
    return {
        "rps": round(max(row.rps for row in rows[:-1])),
        "p50_ms_c1": round(rows[0].p50_ms, 2),
        "p99_ms": round(at_knee.p99_ms, 1),
        "overload_goodput_ratio": round(overload.rps / at_knee.rps, 3),
        "errors": sum(row.errors for row in rows),
    }


def add_what_to_load(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments that say which service gets whose histories."""
    parser.add_argument(
        "--dataset", required=True, help="what the bundle was trained on: a MovieLens release, a folder"
    )
    parser.add_argument("--bundle", type=Path, required=True, help="a bundle, or a folder of bundles")


def require_wrk(parser: argparse.ArgumentParser) -> None:
    """Ends the program where wrk is not installed."""
    if shutil.which("wrk") is None:
        parser.error("wrk is needed: apt-get install wrk, or https://github.com/wg/wrk")


def main() -> None:
    """Measures, prints the tables and the line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_what_to_load(parser)
    parser.add_argument("--seconds", type=float, default=15, help="length of one load (default 15)")
    parser.add_argument("--no-peer", action="store_true", help="leave transformers.generate out")
    arguments = parser.parse_args()
    require_wrk(parser)
    version = read_bundle(arguments.bundle).manifest.version
    with tempfile.TemporaryDirectory() as folder:
        bodies = Path(folder) / "bodies.jsonl"
        write_bodies(arguments.dataset, bodies)
        rows = measure(arguments.bundle, bodies, seconds=arguments.seconds)
        print_rows(rows, f"{version}, history {HISTORY}, k {K}, beam {BEAM_WIDTH}; {description()}; wrk on one thread")
        if not arguments.no_peer:
            peer = measure(arguments.bundle, bodies, seconds=arguments.seconds, module=PEER)
            print_rows(peer, "the same with transformers.generate (T5 4 + 4, width 128, random weights)")
            print(json.dumps({"peer": summary(peer)}))
    print(json.dumps(summary(rows)))


if __name__ == "__main__":
    main()
