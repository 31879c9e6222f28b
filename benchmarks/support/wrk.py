"""Loads a service with the program wrk, with the histories of a data set's users, and reads what wrk measured."""

import argparse
import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from rqrec.training.data.sources import load_dataset
from rqrec.training.data.splits import user_sequences
from rqrec.training.data.splitting.leave_one_out import leave_one_out

DATA_DIR = Path("artifacts/data")
K, BEAM_WIDTH, HISTORY = 10, 20, 20
LUA, PACED_LUA = (Path(__file__).with_name(name) for name in ("load.lua", "load_paced.lua"))


@dataclass(frozen=True)
class Measured:
    """Rates and latencies at one load.

    Attributes:
        connections: Number of connections.
        rps: Requests a second that were answered 200.
        shed_rps: Requests a second that were answered 429.
        sent_rps: Requests a second with any answer.
        p50_ms: Median latency of all answers, in milliseconds.
        p99_ms: 99th percentile of the latency.
        p999_ms: 99.9th percentile of the latency.
        errors: Number of other answers, broken connections, and answers 429 without Retry-After.
    """

    connections: int
    rps: float
    shed_rps: float
    sent_rps: float
    p50_ms: float
    p99_ms: float
    p999_ms: float
    errors: int


def write_bodies(dataset: str, file: Path, *, history: int = HISTORY) -> None:
    """Writes a request body a line: the last items of each user of a data set, without the held-out test item.

    Args:
        dataset: A MovieLens release by name, or a folder.
        file: The file to write.
        history: The largest number of items of a history.
    """
    data = load_dataset(dataset, data_dir=DATA_DIR)
    histories = leave_one_out(user_sequences(data)).test.histories
    item_ids = data.items["item_id"].to_list()
    with file.open("w", encoding="utf-8") as out:
        for begin, end in zip(histories.offsets_U[:-1], histories.offsets_U[1:], strict=True):
            last = [item_ids[item] for item in histories.items_I[max(begin, end - history) : end]]
            out.write(json.dumps({"history": last, "k": K, "beam_width": BEAM_WIDTH}) + "\n")


def load(url: str, bodies: Path, *, connections: int, seconds: float, rate: float | None = None) -> Measured:
    """Loads the service for some seconds.

    Args:
        url: The service's address.
        bodies: A file of request bodies, one a line.
        connections: Number of connections.
        seconds: Duration of the load in seconds.
        rate: Requests a second to send. None to send each request after the answer to the one before.
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


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments for the bundle to serve and the data set of the histories."""
    parser.add_argument(
        "--dataset", required=True, help="what the bundle was trained on: a MovieLens release, a folder"
    )
    parser.add_argument("--bundle", type=Path, required=True, help="a bundle, or a folder of bundles")


def require_wrk(parser: argparse.ArgumentParser) -> None:
    """Exits with an error if wrk is not installed."""
    if shutil.which("wrk") is None:
        parser.error("wrk is needed: apt-get install wrk, or https://github.com/wg/wrk")
