"""Measures the service with catalogues of up to ten million items: start, memory, latency and writes.

    python -m benchmarks.large_catalogue --bundle artifacts/ml-100k/bundles

The catalogues are `benchmarks.support.large_bundle`'s: copies of the bundle's items. The largest needs 16 GB of disk
below `--folder`, and 16 GB for the page cache if its files are to stay in memory. Items are written through a Redis
without a copy of the table (RQREC_REDIS_TABLE_TTL_S=0). Requests come one after the other.
"""

import argparse
import json
import os
import secrets
import shutil
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.support.large_bundle import MAKER, bundle_of, enlarged
from benchmarks.support.machine import description
from benchmarks.support.running import running_redis, running_service
from rqrec.models.bundle.bundle import Bundle, read_bundle
from rqrec.models.bundle.tables import ITEM_ID
from rqrec.models.tokenizer.featurizer import TEXT

SIZES = (10_000, 1_000_000, 10_000_000)
READY_WITHIN_S, ANSWER_WITHIN_S = 600.0, 60.0
REQUESTS, FILTERS, WRITES = 300, 30, 10
HISTORY, K = 20, 10
GIB = 1 << 20  # in KiB
MEMORY = {"Rss": "resident", "Anonymous": "anonymous"}
HEADINGS = {
    "start_s": "start, s",
    "start_cpu_s": "CPU s",
    "resident_gib": "resident, GiB",
    "anonymous_gib": "of it anonymous",
    "plain_p50_ms": "plain p50, ms",
    "plain_p99_ms": "p99",
    "filter_p50_ms": "known filter p50",
    "filter_p99_ms": "p99",
    "new_filter_p50_ms": "new filter p50",
    "new_filter_p99_ms": "p99",
    "first_write_ms": "first write, ms",
    "write_ms": "write",
    "after_gib": "anonymous at the end, GiB",
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
    items, text_width = _few_items(bundle)
    token, rng = secrets.token_hex(8), np.random.default_rng(0)
    with running_redis(folder) as redis:
        settings = {
            "RQREC_BUNDLE": str(bundle),
            "RQREC_DATA_DIR": str(folder),
            "RQREC_REDIS_URL": redis.url,
            "RQREC_REDIS_TABLE_TTL_S": "0",
            "RQREC_ADMIN_TOKEN": token,
            "RQREC_WRITE_TIMEOUT_S": str(ANSWER_WITHIN_S),
            "RQREC_TIMEOUT_MS": str(int(1000 * ANSWER_WITHIN_S)),
        }
        begin = time.perf_counter()
        headers = {"Authorization": f"Bearer {token}"}
        with (
            running_service(settings, module=("-m", "rqrec", "serve"), ready_within_s=READY_WITHIN_S) as (url, process),
            httpx.Client(base_url=url, timeout=ANSWER_WITHIN_S, headers=headers) as client,
        ):
            start_s, start_cpu_s, before = time.perf_counter() - begin, _cpu_s(process.pid), memory_of(process.pid)

            def recommend(conditions: dict[str, Any]) -> list[str]:
                history = [items[number][0] for number in rng.integers(len(items), size=HISTORY).tolist()]
                body = {"history": history, "k": K, **({"filter": conditions} if conditions else {})}
                reply = client.post("/recommend", json=body).raise_for_status().json()
                return [item["item_id"] for item in reply["items"]]

            makers = list(dict.fromkeys(maker for _, maker in items))[: FILTERS + 1]
            filters: list[dict[str, Any]] = [{MAKER: {"any_of": [maker]}} for maker in makers]
            figures = {
                "start_s": start_s,
                "start_cpu_s": start_cpu_s,
                "resident_gib": before["resident"],
                "anonymous_gib": before["anonymous"],
                **_latencies("plain", [lambda: recommend({})] * requests),
                **_latencies("new_filter", [partial(recommend, one) for one in filters[1:]]),
                **_latencies("filter", [lambda: recommend(filters[0])] * (requests + 1), leave_out=1),
                **_writes(client, text_width, rng),
            }
            return {**figures, "after_gib": memory_of(process.pid)["anonymous"]}


def _cpu_s(process: int) -> float:
    """The seconds of CPU time that a process has taken."""
    fields = Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _few_items(path: Path) -> tuple[list[tuple[str, str]], int]:
    """Ids and makers of some items, and the width of a text's embedding. The bundle itself is not kept."""
    bundle: Bundle = read_bundle(path)
    rows = np.random.default_rng(1).integers(len(bundle.items), size=2000)
    block = bundle.featurizer.given_block(TEXT)
    return bundle.items[rows].select(ITEM_ID, MAKER).rows(), 0 if block is None else block.width


def _latencies(name: str, calls: list[Callable[[], object]], *, leave_out: int = 0) -> dict[str, float]:
    """The median and the 99th percentile of calls, without the first ones, in milliseconds."""
    taken = [_milliseconds(call) for call in calls][leave_out:]
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
