"""Measures how long others wait while a user with many events is forgotten.

    python -m benchmarks.events.forgetting --bundle artifacts/ml-100k/bundles --store redis

Starts the service, sends the events of one user and of a few others, and deletes the first one. Meanwhile three clients
ask for lists of the others, send events of them, and ask for /healthz. They also do so before and after, for a
comparison on the same machine. The last line printed is JSON.
"""

import argparse
import json
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import numpy as np

from benchmarks.support.running import running_redis, running_service
from rqrec.service.contract.events import MAX_EVENTS

TOKEN = "benchmark" * 4
EVENTS, OTHERS, ITEMS = 200_000, 50, 1_000
PAUSE_S, AROUND_S, TIMEOUT_S = 0.005, 10.0, 120.0


class Wait(NamedTuple):
    """When a request was sent, and how long its answer took, in seconds."""

    at: float
    seconds: float


def send_events(client: httpx.Client, user_ids: list[str], num_events: int) -> None:
    """Sends events of users in turn.

    Args:
        client: A client of the service.
        user_ids: The users.
        num_events: Number of events of all users together.
    """
    for begin in range(0, num_events, MAX_EVENTS):
        numbers = range(begin, min(begin + MAX_EVENTS, num_events))
        events = [{"user_id": user_ids[n % len(user_ids)], "item_id": str(n % ITEMS), "type": "view"} for n in numbers]
        client.post("/events", json={"events": events}).raise_for_status()


@contextmanager
def asking(url: str) -> Iterator[dict[str, list[Wait]]]:
    """Yields the waits of the three clients, which ask until the end of the block."""
    view = {"item_id": "5", "type": "view"}
    calls: dict[str, Callable[[httpx.Client, str], httpx.Response]] = {
        "recommend": lambda client, user: client.post("/recommend", json={"user_id": user, "k": 10}),
        "events": lambda client, user: client.post("/events", json={"events": [{**view, "user_id": user}]}),
        "healthz": lambda client, _: client.get("/healthz"),
    }
    waits: dict[str, list[Wait]] = {name: [] for name in calls}
    is_over = threading.Event()

    def ask(name: str) -> None:
        with httpx.Client(base_url=url, timeout=TIMEOUT_S) as client:
            while not is_over.wait(PAUSE_S):
                begin = time.perf_counter()
                calls[name](client, f"other-{len(waits[name]) % OTHERS}").raise_for_status()
                waits[name].append(Wait(begin, time.perf_counter() - begin))

    threads = [threading.Thread(target=ask, args=(name,)) for name in calls]
    for thread in threads:
        thread.start()
    try:
        yield waits
    finally:
        is_over.set()
        for thread in threads:
            thread.join()


def summary(waits: list[Wait]) -> dict[str, float]:
    """Returns the median, the 99th percentile and the largest of some waits, in milliseconds."""
    p50, p99, longest = 1000 * np.percentile([one.seconds for one in waits], (50, 99, 100))
    return {"p50_ms": round(p50, 1), "p99_ms": round(p99, 1), "max_ms": round(longest, 1)}


def measure(url: str) -> dict[str, Any]:
    """Forgets a user of a running service, and returns the waits of the others.

    Args:
        url: The service's address.
    """
    with httpx.Client(base_url=url, timeout=TIMEOUT_S) as client:
        send_events(client, ["forgotten"], EVENTS)
        send_events(client, [f"other-{number}" for number in range(OTHERS)], OTHERS * 20)
        with asking(url) as waits:
            time.sleep(AROUND_S)
            begin = time.perf_counter()
            reply = client.delete("/users/forgotten", headers={"Authorization": f"Bearer {TOKEN}"})
            end = time.perf_counter()
            reply.raise_for_status()
            time.sleep(AROUND_S)
    found: dict[str, Any] = {"delete_s": round(end - begin, 2)}
    for name, all_waits in waits.items():
        meanwhile = [one for one in all_waits if one.at < end and one.at + one.seconds > begin]
        found[name] = {
            "meanwhile": summary(meanwhile),
            "before_and_after": summary([one for one in all_waits if one not in meanwhile]),
        }
    return found


def main() -> None:
    """Measures, and prints one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, required=True, help="a bundle, or a folder of bundles")
    parser.add_argument("--store", choices=("sqlite", "redis"), default="redis", help="the event store")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        settings = {"RQREC_BUNDLE": str(arguments.bundle), "RQREC_DATA_DIR": name, "RQREC_ADMIN_TOKEN": TOKEN}
        if arguments.store == "redis":
            settings["RQREC_REDIS_URL"] = stack.enter_context(running_redis(Path(name), keeps=True)).url
        url, _ = stack.enter_context(running_service(settings))
        print(json.dumps({"store": arguments.store, **measure(url)}))


if __name__ == "__main__":
    main()
