"""Whether the service's memory stays flat and its answers fast under a long load at the knee.

    python -m benchmarks.soak --dataset ml-100k --bundle artifacts/ml-100k/bundles

Loads the service with wrk (Debian: apt-get install wrk) for ten minutes and looks at its resident memory every minute.
"""

import argparse
import json
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.load import add_what_to_load, load, require_wrk, write_bodies
from benchmarks.machine import description
from benchmarks.running import running_service

CONNECTIONS = 32  # the knee, as benchmarks.load finds it
MINUTES, MINUTE_S = 10, 60.0
MIB = 1 << 20


def resident_mib(pid: int) -> float:
    """The resident memory of a process of this machine (Linux)."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    kib = next(line for line in status.splitlines() if line.startswith("VmRSS:")).split()[1]
    return int(kib) * 1024 / MIB


def main() -> None:
    """Measures, prints the table and the line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_what_to_load(parser)
    parser.add_argument("--minutes", type=int, default=MINUTES, help=f"how long (default {MINUTES})")
    arguments = parser.parse_args()
    require_wrk(parser)
    table = Table(title=f"{CONNECTIONS} connections; {description()}", title_justify="left")
    for name in ("minute", "requests/s", "p99 ms", "errors", "resident MiB"):
        table.add_column(name, justify="right")
    rows, sizes = [], []
    with (
        tempfile.TemporaryDirectory() as folder,
        running_service({"RQREC_BUNDLE": str(arguments.bundle)}) as (url, process),
    ):
        bodies = Path(folder) / "bodies.jsonl"
        write_bodies(arguments.dataset, bodies)
        for minute in range(1, arguments.minutes + 1):
            rows.append(row := load(url, bodies, connections=CONNECTIONS, seconds=MINUTE_S))
            sizes.append(resident_mib(process.pid))
            table.add_row(str(minute), f"{row.rps:.0f}", f"{row.p99_ms:.1f}", str(row.errors), f"{sizes[-1]:.1f}")
    Console(width=100).print(table)
    summary = {
        "requests": round(sum(row.rps for row in rows) * MINUTE_S),
        "errors": sum(row.errors for row in rows),
        "mib_after_first_minute": round(sizes[0], 1),
        "mib_at_the_end": round(sizes[-1], 1),
    }
    print(json.dumps(summary))


if __name__ == "__main__":
    main()
