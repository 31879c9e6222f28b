"""Measures `rqrec bulk`: users a second with one and two processes, equality with HTTP, and a kill in the middle.

    python -m benchmarks.bulk --dataset ml-100k --bundle artifacts/ml-100k/bundles

The histories are those of the data set, cut at several places. For speed, users have 20 items of such a history, lists
have 10 items, and the search has 20 beams. The time includes the start of the processes. The last line is JSON:
`users_per_s` with two processes, `ratio_two_workers` to one, whether all lists are those of HTTP, and how many users
were lost or listed twice by a run that was killed in the middle and begun again.
"""

import argparse
import json
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import polars as pl
from rich.console import Console
from rich.table import Table

from benchmarks.exactness import real_histories
from benchmarks.support.machine import description
from benchmarks.support.running import running_service
from rqrec.models.bundle.bundle import Bundle, read_bundle
from rqrec.models.trie.trie import SemanticIdTrie
from rqrec.service.bulk.local_pool import local_pool
from rqrec.service.bulk.run import BulkOptions, run_bulk
from rqrec.service.settings import Settings

USERS, COMPARED, HISTORY = 40_000, 1000, 20
SPEED_REQUEST: Mapping[str, Any] = {"k": 10, "beam_width": 20}
WORKERS = (1, 2)
KILLED_AT = 0.3  # share of the parts that are there
KILL_WITHIN_S = 600.0
Histories = list[list[str]]


def item_histories(dataset: str, bundle: Bundle, data_dir: Path) -> Histories:
    """Returns histories of a data set's users, as item ids.

    Args:
        dataset: The data set that the bundle was trained on.
        bundle: The bundle.
        data_dir: The folder of downloaded releases.
    """
    trie = SemanticIdTrie.build(bundle.learned.codes_RL, codebook_size=bundle.manifest.codebook_size)
    ids_N = bundle.items["item_id"].to_numpy()[trie.row_of_leaf_N]
    found = real_histories(dataset, bundle, data_dir=data_dir, limit=10 * COMPARED)
    return [ids_N[leaves].tolist() for leaves in found]


def requests_of(bundle: Bundle) -> list[Mapping[str, Any]]:
    """Returns requests whose lists are compared: a plain one, one with list control, and one with a filter.

    Args:
        bundle: The bundle, whose first attribute that is a list of texts is filtered and capped.
    """
    schema = bundle.items.schema
    name = next(one for one, kind in schema.items() if kind == pl.List(pl.String))
    value = bundle.items[name].explode().drop_nulls().mode()[0]
    return [SPEED_REQUEST, {"caps": {name: 3}, "k": 10}, {"filter": {name: {"any_of": [value]}}, "k": 20}]


def write_users(histories: Histories, file: Path) -> None:
    """Writes a file of users, one for each history.

    Args:
        histories: The histories.
        file: The file.
    """
    user_ids = [f"user {number}" for number in range(len(histories))]
    pl.DataFrame({"user_id": user_ids, "history": histories}).write_parquet(file)


def lists_of(out: Path) -> dict[str, list[str]]:
    """Returns the lists in an output folder, by user.

    Args:
        out: The output folder.
    """
    rows = pl.read_parquet(out / "lists").group_by("user_id", maintain_order=True).agg("item_id")
    return dict(rows.iter_rows())


def run_seconds(bundle: Path, users: Path, out: Path, fields: Mapping[str, Any], *, workers: int) -> float:
    """Makes the lists of all users, and returns the seconds that it took.

    Args:
        bundle: The bundle.
        users: The file of users.
        out: The output folder.
        fields: The fields of the request that all users share.
        workers: The number of processes.
    """
    options = BulkOptions(bundle, users, has_events=False, fields=fields, out=out)
    return run_bulk(options, Settings(), partial(local_pool, workers=workers)).seconds


def num_different(bundle: Bundle, histories: Histories, folder: Path) -> int:
    """Counts the lists whose items or ranks are not those of a real service.

    Args:
        bundle: The bundle.
        histories: The histories that are sent with each of `requests_of`.
        folder: A folder for files.
    """
    write_users(histories, folder / "compared.parquet")
    different = 0
    with running_service({"RQREC_BUNDLE": str(bundle.path)}) as (url, _), httpx.Client(base_url=url) as client:
        for number, fields in enumerate(requests_of(bundle)):
            out = folder / f"compared-{number}"
            run_seconds(bundle.path, folder / "compared.parquet", out, fields, workers=1)
            lists = lists_of(out)
            for user, history in enumerate(histories):
                reply = client.post("/recommend", json={"history": history, **fields}).raise_for_status().json()
                items = [item["item_id"] for item in reply["items"]]
                different += items != lists.get(f"user {user}", [])
    return different


def killed_run(bundle: Path, users: Path, out: Path) -> tuple[int, int]:
    """Kills a run in the middle, begins it again, and returns how many users were lost and listed twice.

    Args:
        bundle: The bundle.
        users: The file of users.
        out: The output folder.
    """
    command = [sys.executable, "-m", "rqrec", "bulk", "--bundle", str(bundle), "--histories", str(users)]
    command += ["--out", str(out), "--k", "10", "--beam-width", "20", "--workers", "2"]
    num_users = int(pl.scan_parquet(users).select(pl.len()).collect().item())
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + KILL_WITHIN_S
    while _share_done(out, num_users) < KILLED_AT:
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError("the run must go on until it is killed, but it has ended, or it makes no progress")
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    listed = pl.read_parquet(out / "lists").filter(pl.col("rank") == 1)["user_id"]
    return num_users - listed.n_unique(), len(listed) - listed.n_unique()


def _share_done(out: Path, num_users: int) -> float:
    files = [*out.glob("lists/part-*.parquet")]
    if not files:
        return 0.0
    return int(pl.scan_parquet(files).filter(pl.col("rank") == 1).select(pl.len()).collect().item()) / num_users


def of_one_length(histories: Histories, count: int) -> Histories:
    """Returns histories of `HISTORY` items, which are windows of longer ones.

    Args:
        histories: Histories of any length.
        count: How many to return.

    Raises:
        ValueError: If no history is long enough.
    """
    rng = np.random.default_rng(0)
    long = [history for history in histories if len(history) >= HISTORY]
    if not long:
        raise ValueError(f"expected histories of {HISTORY} items or more, found none: use another data set")
    chosen = [long[number] for number in rng.integers(0, len(long), count)]
    begins = [int(rng.integers(0, len(history) - HISTORY + 1)) for history in chosen]
    return [history[begin : begin + HISTORY] for history, begin in zip(chosen, begins, strict=True)]


def _print(rows: Sequence[tuple[str, str]]) -> None:
    table = Table(title=description(), title_justify="left")
    table.add_column("rqrec bulk")
    table.add_column("", justify="right")
    for row in rows:
        table.add_row(*row)
    Console(width=120).print(table)


def main() -> None:
    """Measures, and prints a table and one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", default="ml-100k", help="what the bundle was trained on")
    parser.add_argument("--bundle", type=Path, default=Path("artifacts/ml-100k/bundles"))
    parser.add_argument("--data-dir", type=Path, default=Path("artifacts/data"), help="where raw public data is kept")
    parser.add_argument("--users", type=int, default=USERS, help=f"users of the speed runs (default {USERS})")
    arguments = parser.parse_args()
    bundle = read_bundle(arguments.bundle)
    histories = item_histories(arguments.dataset, bundle, arguments.data_dir)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        different = num_different(bundle, histories[:COMPARED], folder)
        write_users(of_one_length(histories, arguments.users), folder / "users.parquet")
        rates = {}
        for workers in WORKERS:
            out = folder / f"workers-{workers}"
            seconds = run_seconds(bundle.path, folder / "users.parquet", out, SPEED_REQUEST, workers=workers)
            rates[workers] = arguments.users / seconds
        lost, twice = killed_run(bundle.path, folder / "users.parquet", folder / "killed")
    one, two = rates.values()
    rows = [(f"users/s, {workers} process(es)", f"{rate:,.0f}") for workers, rate in rates.items()]
    compared = len(requests_of(bundle)) * min(COMPARED, len(histories))
    _print([*rows, ("lists compared with HTTP", f"{compared:,}"), ("of these different", f"{different}")])
    figures = {"users_per_s": round(two), "ratio_two_workers": round(two / one, 2)}
    print(json.dumps({**figures, "equal_to_http": not different, "lost": lost, "twice": twice}))


if __name__ == "__main__":
    main()
