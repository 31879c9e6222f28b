"""Measures the service with catalogues of up to ten million items: start, memory, latency and writes.

    python -m benchmarks.large.catalogue --bundle artifacts/ml-100k/bundles

The catalogues are `benchmarks.support.large_bundle`'s: copies of the bundle's items. The largest needs 16 GB of disk
below `--folder`, and 16 GB for the page cache if its files are to stay in memory. Items are written through a Redis
without a copy of the table (RQREC_REDIS_TABLE_TTL_S=0). Requests come one after the other, after the check of the
mapped files, which the service makes after its start.
"""

import argparse
import json
import os
import secrets
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import polars as pl
from rich.console import Console
from rich.table import Table

from benchmarks.support.large_bundle import MAKER, bundle_of, enlarged
from benchmarks.support.machine import description
from benchmarks.support.running import running_redis, running_service
from rqrec.models.bundle.layout import FEATURIZER, ITEM_VECTORS, ITEMS
from rqrec.models.bundle.tables import ITEM_ID
from rqrec.models.tokenizer.featurizer import TEXT, Featurizer

SIZES = (10_000, 1_000_000, 10_000_000)
FILTER_CACHE = 1 << 30  # bytes; with ten million items, one filter takes 100 MB
READY_WITHIN_S, ANSWER_WITHIN_S = 600.0, 60.0
REQUESTS, WARM_UP, FILTERS, WRITES = 300, 5, 30, 10
SERVICE, UNDAMAGED = ("-m", "rqrec", "serve"), "are undamaged"  # in the service's log
HISTORY, K = 20, 10
KNOWN_ITEMS = 2000  # of which the histories are
GIB = 1 << 20  # in KiB
MEMORY = {"Rss": "resident", "Anonymous": "anonymous"}
HEADINGS = {
    "start_s": "ready, s",
    "start_cpu_s": "CPU s",
    "checked_s": "checked, s",
    "start_gib": "anonymous, GiB",
    "anonymous": "at the end",
    "resident": "with files",
    "plain_p50_ms": "plain, ms",
    "plain_p99_ms": "p99",
    "filter_p50_ms": "filter",
    "filter_p99_ms": "p99",
    "new_filter_p50_ms": "new filter",
    "new_filter_p99_ms": "p99",
    "first_write_ms": "first write",
    "write_ms": "write",
}


def memory_of(process: int) -> dict[str, float]:
    """Returns the resident memory of a process and its anonymous part, in GiB. The rest is mapped from files.

    Args:
        process: The number of the process.
    """
    lines = Path(f"/proc/{process}/smaps_rollup").read_text(encoding="utf-8").splitlines()
    kib = {name: int(value.split()[0]) for name, _, value in (line.partition(":") for line in lines[1:])}
    return {name: kib[field] / GIB for field, name in MEMORY.items()}


def measure(bundle: Path, folder: Path, *, requests: int) -> dict[str, float]:
    """Starts the service with a bundle, and measures it.

    Args:
        bundle: The bundle's folder.
        folder: An empty folder for the files of the service and of Redis.
        requests: The number of requests of each kind with a latency.

    Returns:
        The figures by name, as in HEADINGS.
    """
    token, log = secrets.token_hex(8), folder / "service.log"
    with running_redis(folder) as redis:
        settings = {
            "RQREC_BUNDLE": str(bundle),
            "RQREC_DATA_DIR": str(folder),
            "RQREC_REDIS_URL": redis.url,
            "RQREC_REDIS_TABLE_TTL_S": "0",
            "RQREC_FILTER_CACHE_BYTES": str(FILTER_CACHE),
            "RQREC_ADMIN_TOKEN": token,
            "RQREC_WRITE_TIMEOUT_S": str(ANSWER_WITHIN_S),
            "RQREC_TIMEOUT_MS": str(int(1000 * ANSWER_WITHIN_S)),
        }
        begin, headers = time.perf_counter(), {"Authorization": f"Bearer {token}"}
        with (
            running_service(settings, module=SERVICE, log=log, ready_within_s=READY_WITHIN_S) as (url, process),
            httpx.Client(base_url=url, timeout=ANSWER_WITHIN_S, headers=headers) as client,
        ):
            start_s, start_cpu_s = time.perf_counter() - begin, _cpu_s(process.pid)
            start_gib = memory_of(process.pid)["anonymous"]
            while (bundle / ITEM_VECTORS).is_file() and UNDAMAGED not in log.read_text(encoding="utf-8"):
                time.sleep(0.2)
            checked_s = time.perf_counter() - begin
            figures = _asked(client, bundle, requests=requests)
            started = {"start_s": start_s, "start_cpu_s": start_cpu_s, "checked_s": checked_s, "start_gib": start_gib}
            return {**started, **figures, **memory_of(process.pid)}


def _asked(client: httpx.Client, bundle: Path, *, requests: int) -> dict[str, float]:
    """Asks for lists, plain and with filters, and writes items; returns milliseconds by name."""
    (items, text_width), rng = _few_items(bundle), np.random.default_rng(0)

    def recommend(conditions: dict[str, Any]) -> None:
        history = [items[number][0] for number in rng.integers(len(items), size=HISTORY).tolist()]
        body = {"history": history, "k": K, **({"filter": conditions} if conditions else {})}
        assert client.post("/recommend", json=body).raise_for_status().json()["items"]

    makers = list(dict.fromkeys(maker for _, maker in items))[: FILTERS + 1]
    known, *new = ({MAKER: {"any_of": [maker]}} for maker in makers)
    return {
        **_latencies("plain", [partial(recommend, {})] * (requests + WARM_UP)),
        **_latencies("filter", [partial(recommend, known)] * (requests + WARM_UP)),
        **_latencies("new_filter", [partial(recommend, one) for one in new]),
        **_writes(client, text_width, rng),
    }


def _cpu_s(process: int) -> float:
    """The seconds of CPU time that a process has taken."""
    fields = Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _few_items(bundle: Path) -> tuple[list[tuple[str, str]], int]:
    """Ids and makers of some items, and the width of a text's embedding."""
    items = pl.read_parquet(bundle / ITEMS, columns=[ITEM_ID, MAKER])
    rows = np.random.default_rng(1).integers(len(items), size=KNOWN_ITEMS)
    block = Featurizer.from_json((bundle / FEATURIZER).read_text(encoding="utf-8")).given_block(TEXT)
    return items[rows].rows(), 0 if block is None else block.width


def _latencies(name: str, calls: Sequence[Callable[[], object]]) -> dict[str, float]:
    """The median and the 99th percentile of calls, without the first ones, in milliseconds."""
    taken = [_milliseconds(call) for call in calls][WARM_UP:]
    return {f"{name}_p{share}_ms": float(np.percentile(taken, share)) for share in (50, 99)}


def _writes(client: httpx.Client, text_width: int, rng: np.random.Generator) -> dict[str, float]:
    """Writes new items, each of which the service then knows. Returns the milliseconds of the first, and a median."""
    taken = []
    for number in range(WRITES):
        body: dict[str, Any] = {"attributes": {}}
        if text_width:
            body["text_vector"] = rng.normal(size=text_width).round(4).tolist()
        address = f"/items/new-{number}"
        taken.append(_milliseconds(lambda: client.put(address, json=body).raise_for_status()))  # noqa: B023 - called now
        client.get(address).raise_for_status()
    return {"first_write_ms": taken[0], "write_ms": float(np.median(taken[1:]))}


def _milliseconds(call: Callable[[], object]) -> float:
    begin = time.perf_counter()
    call()
    return 1000 * (time.perf_counter() - begin)


def main() -> None:
    """Measures every size, and prints the table and one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--bundle", type=Path, required=True, help="a bundle of the default recipe, or a folder of them"
    )
    parser.add_argument("--items", type=int, nargs="*", default=SIZES, help="sizes of the catalogues")
    parser.add_argument("--requests", type=int, default=REQUESTS, help=f"of each kind (default {REQUESTS})")
    parser.add_argument("--folder", type=Path, help="where the bundles are made, and kept for the next time")
    arguments = parser.parse_args()
    bundle = bundle_of(arguments.bundle, parser, enlarges=True)
    table = Table(title=description(), title_justify="left")
    for name in ("items", *HEADINGS.values()):
        table.add_column(name, justify="right")
    summary = {}
    for size in arguments.items:
        with tempfile.TemporaryDirectory() as name:
            folder = arguments.folder or Path(name)
            path = folder / f"{size}-items"
            if not (path / "manifest.json").is_file():
                shutil.rmtree(path, ignore_errors=True)
                enlarged(bundle, folder, size, insight=False)
            (files := Path(name) / "files").mkdir()
            found = measure(path, files, requests=arguments.requests)
        table.add_row(f"{size:,}", *(f"{found[figure]:,.1f}" for figure in HEADINGS))
        summary[str(size)] = {figure: round(value, 2) for figure, value in found.items()}
    Console(width=200).print(table)
    print(json.dumps(summary))


if __name__ == "__main__":
    main()
