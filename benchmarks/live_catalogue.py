"""Measures how soon a written item is known: to the replica that was asked, and to another replica.

    python -m benchmarks.live_catalogue --bundle artifacts/ml-100k/bundles

Starts two replicas of the service and a Redis that keeps its data, on one machine. The catalogues are the bundle's own
items, and catalogues of other sizes, with copies of the items (`benchmarks.support.large_bundle`).
"""

import argparse
import json
import secrets
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.support.large_bundle import bundle_of, enlarged
from benchmarks.support.machine import description
from benchmarks.support.running import running_redis, running_service
from rqrec.models.bundle.bundle import Bundle, read_bundle
from rqrec.models.items.item_tokenizer import ItemTokenizer
from rqrec.models.tokenizer.featurizer import TEXT

SIZES = (12_000, 1_000_000)
WRITES = 30
ANSWER_WITHIN_S = 60.0
POLL_S = 0.005


@dataclass(frozen=True)
class Delays:
    """Seconds since a write was sent, one number for each write.

    Attributes:
        confirmed: Seconds until the write was answered.
        elsewhere: Seconds until the other replica had the item.
    """

    confirmed: Sequence[float]
    elsewhere: Sequence[float]


def measure(bundle: Bundle, folder: Path, *, writes: int) -> Delays:
    """Writes items one after the other to one of two replicas.

    Args:
        bundle: The bundle to serve.
        folder: The folder of Redis's files.
        writes: Number of items to write.
    """
    token = secrets.token_hex(8)
    block = ItemTokenizer(bundle).featurizer.given_block(TEXT)
    rng = np.random.default_rng(0)
    confirmed, elsewhere = [], []
    with running_redis(folder, keeps=True) as redis:
        settings = {
            "RQREC_BUNDLE": str(bundle.path),
            "RQREC_REDIS_URL": redis.url,
            "RQREC_ADMIN_TOKEN": token,
            "RQREC_WRITE_TIMEOUT_S": str(ANSWER_WITHIN_S),
        }
        with (
            running_service(settings) as (url, _),
            running_service(settings) as (other_url, _),
            httpx.Client(base_url=url, timeout=ANSWER_WITHIN_S, headers={"Authorization": f"Bearer {token}"}) as writer,
            httpx.Client(base_url=other_url, timeout=ANSWER_WITHIN_S) as reader,
        ):
            for number in range(writes):
                body: dict[str, object] = {"attributes": {}}
                if block is not None:
                    body["text_vector"] = rng.normal(size=block.width).round(4).tolist()
                begin = time.perf_counter()
                writer.put(f"/items/new-{number}", json=body).raise_for_status()
                confirmed.append(time.perf_counter() - begin)
                while reader.get(f"/items/new-{number}").status_code != httpx.codes.OK:
                    time.sleep(POLL_S)
                elsewhere.append(time.perf_counter() - begin)
    return Delays(confirmed, elsewhere)


def main() -> None:
    """Measures, and prints the table and one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--bundle", type=Path, required=True, help="a bundle of the default recipe, or a folder of them"
    )
    parser.add_argument("--items", type=int, nargs="*", default=SIZES, help="catalogues beside the bundle's own")
    parser.add_argument("--writes", type=int, default=WRITES, help=f"items written to each (default {WRITES})")
    arguments = parser.parse_args()
    bundle = bundle_of(arguments.bundle, parser, enlarges=bool(arguments.items))
    table = Table(title=f"{arguments.writes} writes, two replicas; {description()}", title_justify="left")
    for name in ("items", "confirmed, median ms", "at most", "on the other replica, median ms", "at most"):
        table.add_column(name, justify="right")
    summary = {}
    for size in (len(bundle.items), *arguments.items):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            some = bundle if size == len(bundle.items) else read_bundle(enlarged(bundle, folder, size))
            delays = measure(some, folder, writes=arguments.writes)
        figures = [
            1000 * float(statistic(seconds))
            for seconds in (delays.confirmed, delays.elsewhere)
            for statistic in (np.median, np.max)
        ]
        table.add_row(f"{size:,}", *(f"{figure:,.0f}" for figure in figures))
        summary[str(size)] = round(figures[-1])
    Console(width=120).print(table)
    print(json.dumps({"ms_at_most_until_known_elsewhere": summary}))


if __name__ == "__main__":
    main()
