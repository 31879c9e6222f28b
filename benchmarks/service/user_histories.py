"""Measures recommendations by user beside the same ones by history, and how soon an event shows in the next list.

    python -m benchmarks.service.user_histories --dataset ml-100k --bundle artifacts/ml-100k/bundles

Starts two replicas with one event store, an SQLite file or a Redis. The last items of the data set's users are sent as
events. Then wrk (Debian: apt-get install wrk) loads one replica in turns with requests by history and by user; both
kinds of requests have the same answers. Last, events are sent to one replica, and the other one is asked until its list
leaves the item out. The last line printed is JSON, with the medians of the rounds.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from benchmarks.support.running import running_redis, running_service
from benchmarks.support.wrk import BEAM_WIDTH, K, add_arguments, load, require_wrk, write_bodies
from rqrec.client import Client
from rqrec.service.contract.events import MAX_EVENTS

CONNECTIONS = (1, 32)
EVENTS = 300
AGE_S = 3600.0  # of the stored histories: requests in the session of the last item have other lists


@contextmanager
def replicas(bundle: Path, store: str, folder: Path) -> Iterator[list[str]]:
    """Yields the addresses of two replicas with one event store.

    Args:
        bundle: A bundle, or a folder of bundles.
        store: `sqlite` or `redis`.
        folder: The folder of the event store.
    """
    settings = {"RQREC_BUNDLE": str(bundle), "RQREC_DATA_DIR": str(folder)}
    with ExitStack() as stack:
        if store == "redis":
            settings["RQREC_REDIS_URL"] = stack.enter_context(running_redis(folder, keeps=True)).url
        yield [stack.enter_context(running_service(settings))[0] for _ in range(2)]


def send_histories(url: str, by_history: Path, by_user: Path) -> int:
    """Sends the histories of request bodies as events, writes the same requests by user, and counts the events.

    Args:
        url: The service's address.
        by_history: A file of request bodies, one a line.
        by_user: The file to write.
    """
    events, bodies = list[dict[str, Any]](), list[str]()
    now = time.time() - AGE_S
    for number, line in enumerate(by_history.read_text().splitlines()):
        history = json.loads(line)["history"]
        user_id = f"user-{number}"
        events += [
            {"user_id": user_id, "item_id": item, "type": "view", "at": now - len(history) + place}
            for place, item in enumerate(history)
        ]
        bodies.append(json.dumps({"user_id": user_id, "k": K, "beam_width": BEAM_WIDTH}))
    by_user.write_text("\n".join(bodies) + "\n")
    with Client(url) as client:
        for begin in range(0, len(events), MAX_EVENTS):
            reply = client.send_events(events[begin : begin + MAX_EVENTS])
            assert reply.num_rejected == 0, reply
    return len(events)


def check_equal(url: str, by_history: Path, by_user: Path) -> None:
    """Checks that the requests by user have the answers of the requests by history.

    Args:
        url: The service's address.
        by_history: A file of request bodies, one a line.
        by_user: The same requests by user.
    """
    with httpx.Client(base_url=url) as client:
        for pair in list(zip(by_history.open(), by_user.open(), strict=True))[:50]:
            one, other = (client.post("/recommend", content=body).json() for body in pair)
            assert [item["item_id"] for item in one["items"]] == [item["item_id"] for item in other["items"]]


def measure_load(url: str, bodies: dict[str, Path], *, seconds: float, rounds: int) -> dict[str, Any]:
    """Loads a replica in turns with two kinds of requests, and returns the medians of the rounds.

    Args:
        url: The replica's address.
        bodies: A file of request bodies for each kind.
        seconds: Duration of one load in seconds.
        rounds: Number of loads of each kind.
    """
    found: dict[str, Any] = {}
    for connections in CONNECTIONS:
        rows = [
            {kind: load(url, file, connections=connections, seconds=seconds) for kind, file in bodies.items()}
            for _ in range(rounds)
        ]
        for kind in bodies:
            found[f"{kind}_c{connections}"] = {
                "p50_ms": round(statistics.median(row[kind].p50_ms for row in rows), 2),
                "p99_ms": round(statistics.median(row[kind].p99_ms for row in rows), 2),
                "rps": round(statistics.median(row[kind].rps for row in rows)),
                "errors": sum(row[kind].errors for row in rows),
            }
        one, other = bodies
        ratios = [row[other].p50_ms / row[one].p50_ms for row in rows]
        found[f"p50_ratio_c{connections}"] = round(statistics.median(ratios), 3)
    return found


def measure_freshness(urls: Sequence[str], *, event_type: str = "view") -> dict[str, float]:
    """Sends events to one replica, and measures the time until a list of the other one leaves the item out.

    Args:
        urls: The addresses of two replicas.
        event_type: A type that enters the history.
    """
    seconds = []
    with Client(urls[0]) as writer, Client(urls[1]) as reader:
        for number in range(EVENTS):
            user_id = f"fresh-{number}"
            best = reader.recommend(user_id=user_id, k=1).items[0].item_id
            begin = time.perf_counter()
            reply = writer.send_events([{"user_id": user_id, "item_id": best, "type": event_type}])
            assert reply.num_rejected == 0, reply
            while reader.recommend(user_id=user_id, k=1).items[0].item_id == best:
                pass
            seconds.append(time.perf_counter() - begin)
    return {f"event_to_list_p{q}_ms": round(1000 * float(np.percentile(seconds, q)), 1) for q in (50, 99)}


def main() -> None:
    """Measures, and prints one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser)
    parser.add_argument("--store", choices=("sqlite", "redis"), default="redis", help="the event store")
    parser.add_argument("--seconds", type=float, default=5, help="length of one load (default 5)")
    parser.add_argument("--rounds", type=int, default=3, help="loads of each kind (default 3)")
    arguments = parser.parse_args()
    require_wrk(parser)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        bodies = {"by_history": folder / "by_history.jsonl", "by_user": folder / "by_user.jsonl"}
        write_bodies(arguments.dataset, bodies["by_history"])
        with replicas(arguments.bundle, arguments.store, folder) as urls:
            send_histories(urls[0], *bodies.values())
            check_equal(urls[0], *bodies.values())
            load(urls[0], bodies["by_user"], connections=CONNECTIONS[-1], seconds=2)  # warms up
            found = measure_load(urls[0], bodies, seconds=arguments.seconds, rounds=arguments.rounds)
            found |= measure_freshness(urls)
    print(json.dumps({"store": arguments.store, **found}))


if __name__ == "__main__":
    main()
