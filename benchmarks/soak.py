"""Checks that the service's memory does not grow under a long load at the knee.

    python -m benchmarks.soak --dataset ml-100k --bundle artifacts/ml-100k/bundles

Loads the service with wrk (Debian: apt-get install wrk) for ten minutes, and reads its resident memory every minute.
"""

import argparse
import json
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.support.machine import description, resident_mib
from benchmarks.support.running import running_service
from benchmarks.support.wrk import add_arguments, load, require_wrk, write_bodies

CONNECTIONS = 32  # the knee in the results of benchmarks.load
MINUTES, MINUTE_S = 10, 60.0


def main() -> None:
    """Measures, and prints the table and one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser)
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
