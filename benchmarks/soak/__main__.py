"""Checks that neither the service's memory nor its event store grows without end under a long load at the knee.

    python -m benchmarks.soak --dataset ml-100k --bundle artifacts/ml-100k/bundles --store sqlite

Loads the service with wrk (Debian: apt-get install wrk) for ten minutes: half of the requests have a history, the
others name a user, and half of these leave out what the user was shown lately. Beside it one client asks for pages,
sends events that name them, and reads and forgets users. After every minute the events are exported, and the resident
memory of the service and what the event store holds are read. Histories of 50 entries and impressions that live for a
minute make the store reach its limits in this time.

The last line printed is JSON. Exits with status 1 if an answer was an error, if an accepted event was not exported
once, if memory has grown by 5 % after the second minute, or if the store holds more than its settings allow.
"""

import argparse
import asyncio
import json
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl
from rich.console import Console
from rich.table import Table

from benchmarks.events.export import Export
from benchmarks.service.user_histories import send_histories
from benchmarks.soak.store_size import StoreSize, redis_size, sqlite_size
from benchmarks.soak.user_load import GONE, USERS, UserLoad
from benchmarks.support.machine import description, resident_mib
from benchmarks.support.running import running_redis, running_service
from benchmarks.support.wrk import Measured, add_arguments, load, require_wrk, write_bodies
from rqrec.models.bundle.bundle import read_bundle
from rqrec.service.composition import EVENTS_FILE
from rqrec.training.runtime.progress import progress, set_up_output

CONNECTIONS = 32  # the knee in the results of benchmarks.load
MINUTES, MINUTE_S = 10, 60.0
WARM_UP = 2  # minutes
MAX_GROWTH = 0.05  # of the resident memory, after the warm-up
USER_HISTORY, IMPRESSION_TTL_S, SHOWN_S = 50, 60, 5
LATE_S = 30.0  # how much later than it expires an impression may be deleted
TOKEN = "soak"  # noqa: S105 - of a service that listens to this process only
SETTINGS = {
    "RQREC_ADMIN_TOKEN": TOKEN,
    "RQREC_USER_HISTORY": str(USER_HISTORY),
    "RQREC_IMPRESSION_TTL_S": str(IMPRESSION_TTL_S),
}


@dataclass(frozen=True)
class Minute:
    """What was read after one minute of load.

    Attributes:
        load: What wrk measured.
        resident_mib: Resident memory of the service in MiB.
        store: What the event store holds after the export.
    """

    load: Measured
    resident_mib: float
    store: StoreSize


def mix_bodies(by_history: Path, by_user: Path, file: Path) -> int:
    """Writes requests by history and by user in turns, and returns the number of users.

    Args:
        by_history: A file of request bodies, one a line.
        by_user: The same requests by user.
        file: The file to write.
    """
    pairs = list(zip(by_history.read_text().splitlines(), by_user.read_text().splitlines(), strict=True))
    lines = list[str]()
    for number, (one, other) in enumerate(pairs):
        left_out = {"exclude_shown_s": SHOWN_S} if number % 2 else {}
        lines += [one, json.dumps(json.loads(other) | left_out)]
    file.write_text("\n".join(lines) + "\n")
    return len(pairs)


def faults_of(minutes: Sequence[Minute], num_readers: int) -> list[str]:
    """Returns what is wrong with the memory, the answers and the size of the store.

    Args:
        minutes: What was read after each minute.
        num_readers: Number of users whom wrk names.
    """
    warm, last = minutes[min(WARM_UP, len(minutes)) - 1], minutes[-1]
    entries = (num_readers + USERS) * USER_HISTORY + USER_HISTORY  # one user may be about to be forgotten
    impressions = max(one.load.sent_rps for one in minutes) * (IMPRESSION_TTL_S + LATE_S)
    faults = []
    if errors := sum(one.load.errors for one in minutes):
        faults.append(f"{errors} requests were answered with an error")
    if last.resident_mib > (1 + MAX_GROWTH) * warm.resident_mib:
        faults.append(f"memory grew from {warm.resident_mib:.1f} to {last.resident_mib:.1f} MiB after the warm-up")
    for minute in minutes:
        held = minute.store
        if held.entries > entries:
            faults.append(f"the histories have {held.entries} entries, but at most {entries} are allowed")
        if held.impressions > impressions:
            faults.append(f"{held.impressions} impressions are stored, but at most {impressions:.0f} can be alive")
    return faults


def show(minutes: Sequence[Minute], store: str) -> None:
    """Prints a table with a row for each minute."""
    table = Table(title=f"{store}, {CONNECTIONS} connections; {description()}", title_justify="left")
    columns = ("minute", "req./s", "p99 ms", "errors", "resident MiB", "store MiB", "records", "entries")
    for name in (*columns, "impressions", "event ids"):
        table.add_column(name, justify="right")
    for number, one in enumerate(minutes, start=1):
        held = one.store
        sizes = (held.records, held.entries, held.impressions, held.event_ids)
        figures = (f"{one.load.rps:.0f}", f"{one.load.p99_ms:.1f}", str(one.load.errors), f"{one.resident_mib:.1f}")
        table.add_row(str(number), *figures, f"{held.mib:.1f}", *map(str, sizes))
    Console(width=120).print(table)


def faults_of_export(folder: Path, accepted: int) -> list[str]:
    """Returns what is wrong with the exported events.

    Args:
        folder: The folder of the exported events.
        accepted: Number of the accepted events of users who were not forgotten.
    """
    exported = pl.read_parquet(folder / "interactions" / "day=*" / "part-*.parquet", hive_partitioning=False)
    num_events, faults = exported["event_id"].n_unique(), list[str]()
    if not accepted == num_events == len(exported):
        faults.append(f"{accepted} events were accepted, but {len(exported)} are exported, {num_events} different ones")
    if forgotten := exported["user_id"].str.starts_with(GONE).sum():
        faults.append(f"{forgotten} events of forgotten users are exported")
    return faults


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Starts the service, loads it and reads its memory and its store.

    Args:
        arguments: The options of the command: dataset, bundle, store, minutes, minute_s and log.

    Returns:
        The last line of the command.
    """
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        by_history, by_user, bodies = (folder / f"{name}.jsonl" for name in ("by_history", "by_user", "bodies"))
        write_bodies(arguments.dataset, by_history)
        settings = SETTINGS | {"RQREC_BUNDLE": str(arguments.bundle), "RQREC_DATA_DIR": str(folder)}
        size: Callable[[], StoreSize] = partial(sqlite_size, folder / EVENTS_FILE)
        if arguments.store == "redis":
            redis = stack.enter_context(running_redis(folder, keeps=True))
            settings["RQREC_REDIS_URL"], size = redis.url, partial(redis_size, redis)
        export = Export({**os.environ, **settings}, folder / "export", arguments.log)
        url, process = stack.enter_context(running_service(settings, log=arguments.log))
        num_sent = send_histories(url, by_history, by_user)
        num_readers = mix_bodies(by_history, by_user, bodies)
        users, minutes = UserLoad(url, TOKEN, read_bundle(arguments.bundle).items["item_id"].to_list()), list[Minute]()
        users.start()
        with progress("soak", total=arguments.minutes, unit="minutes") as task:
            for _ in range(arguments.minutes):
                measured = load(url, bodies, connections=CONNECTIONS, seconds=arguments.minute_s)
                asyncio.run(export.run())
                minutes.append(Minute(measured, resident_mib(process.pid), size()))
                task.advance()
        users.stop()
        asyncio.run(export.run())
        num_events = num_sent + users.counts["accepted"]
        faults = faults_of(minutes, num_readers) + faults_of_export(folder / "export", num_events)
        faults += [] if users.fault is None else [f"the client of users failed: {users.fault!r}"]
    show(minutes, arguments.store)
    return {
        "store": arguments.store,
        "requests": round(sum(one.load.rps for one in minutes) * arguments.minute_s),
        "events": num_events,
        "pages": users.counts["lists"],
        "pages_without_the_store": users.counts["lists without the store"],
        "users_forgotten": users.counts["forgotten"],
        "mib_after_warm_up": round(minutes[min(WARM_UP, len(minutes)) - 1].resident_mib, 1),
        "mib_at_the_end": round(minutes[-1].resident_mib, 1),
        "store_mib_at_the_end": round(minutes[-1].store.mib, 1),
        "faults": faults,
    }


def main() -> None:
    """Measures, and prints the table and one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser)
    parser.add_argument("--store", choices=("sqlite", "redis"), default="sqlite", help="the event store")
    parser.add_argument("--minutes", type=int, default=MINUTES, help=f"how long (default {MINUTES})")
    parser.add_argument("--minute-s", type=float, default=MINUTE_S, help=argparse.SUPPRESS)
    parser.add_argument("--log", type=Path, default=Path(os.devnull), help="where the logs go (default: nowhere)")
    arguments = parser.parse_args()
    require_wrk(parser)
    set_up_output()
    result = run(arguments)
    print(json.dumps(result))
    sys.exit(bool(result["faults"]))


if __name__ == "__main__":
    main()
