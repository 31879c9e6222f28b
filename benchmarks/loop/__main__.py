"""Plays a data set's real events in time against the running service: does it learn from them?

    python -m benchmarks.loop --dataset ml-100k

A model is trained on the first half of the events. Then the second half is played in slices. Before each event, two
replicas of the service are asked for a list for its user; then the event is sent. Three systems are compared by the
share of lists of ten that hold the item of the next event (recall@10):

- frozen: the list that the first model makes from the first half of the user's events, and that never changes;
- live_histories: the first model, which reads the events as they come;
- retrained: the same, and after each slice the events are exported and the model is retrained from its bundle.

Every hundredth event is sent twice. At the end, the exported events are compared with those that were sent (`lost`,
`twice`). The last line printed is JSON. Its other figures are the mean time of a retraining as a share of the first
training's (`retrain_share`), the share of items that kept their semantic IDs through all retrainings (`id_stability`),
how soon an event shows in a list of the other replica (`event_to_list_p99_ms`), and how often the outcome test finds a
difference between equal models (`aa_false_alarms`).
"""

import argparse
import asyncio
import json
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from rich.console import Console
from rich.table import Table

from benchmarks.loop.learner import Learner
from benchmarks.loop.replay import Action, K, Played, Replay, actions_by_user
from benchmarks.loop.timeline import divided, timeline, write_data_set
from benchmarks.outcomes.__main__ import equal_models, share_of_alarms, simulate_all
from benchmarks.service.user_histories import measure_freshness
from benchmarks.support.machine import description
from benchmarks.support.running import running_service
from rqrec.client import Client
from rqrec.models.bundle.bundle import read_bundle
from rqrec.models.bundle.tables import ITEM_ID
from rqrec.service.contract.events import MAX_EVENTS
from rqrec.training.data.dataset import EVENT_TYPE
from rqrec.training.data.sources import load_dataset
from rqrec.training.runtime.progress import command_progress, set_up_output

DATA_DIR = Path("artifacts/data")
FROZEN, LIVE, RETRAINED = "frozen", "live_histories", "retrained"
FIRST_SHARE, NUM_SLICES = 0.5, 10
TOKEN = "loop"  # noqa: S105 - of services that listen to this process only
AA_RUNS = 1000
CONSOLE = Console(stderr=True, width=140)


def send_all(url: str, by_user: dict[str, list[Action]]) -> None:
    """Sends all events of the first part, so that the service has the users' histories.

    Args:
        url: The service's address.
        by_user: The events of each user, oldest first.
    """
    events = [{"user_id": user, **action._asdict()} for user, actions in by_user.items() for action in actions]
    with Client(url) as client:
        for begin in range(0, len(events), MAX_EVENTS):
            reply = client.send_events(events[begin : begin + MAX_EVENTS])
            assert reply.num_rejected == 0, reply


def first_lists(url: str, users: Sequence[str]) -> dict[str, frozenset[str]]:
    """Returns the list of each user, and that of a user without events as user "".

    Args:
        url: The service's address.
        users: The users with events.
    """
    with Client(url) as client:
        lists = {user: client.recommend(user_id=user, k=K) for user in users}
        lists[""] = client.recommend([], k=K)
    return {user: frozenset(item.item_id for item in reply.items) for user, reply in lists.items()}


def id_stability(first: Path, last: Path) -> float:
    """Returns the share of the items of one bundle that have the same semantic ID in another one.

    Args:
        first: The bundle whose items count.
        last: The other bundle.
    """
    before, after = (
        dict(zip(bundle.items[ITEM_ID], bundle.learned.codes_RL.tolist(), strict=True))
        for bundle in (read_bundle(first), read_bundle(last))
    )
    return float(np.mean([after.get(item) == one for item, one in before.items()]))


def lost_and_twice(exported: pl.DataFrame, num_sent: int) -> dict[str, int]:
    """Compares exported events with those that were sent, by their ids.

    Args:
        exported: The exported events.
        num_sent: Number of different events that were sent.
    """
    ids = exported["event_id"].filter(exported["event_id"].str.starts_with("event-"))
    return {"lost": num_sent - ids.n_unique(), "twice": len(ids) - ids.n_unique()}


def play_slices(
    learner: Learner, replay: Replay, first: pl.DataFrame, slices: Sequence[pl.DataFrame], retrained: str
) -> tuple[list[Played], pl.DataFrame]:
    """Plays all slices, and retrains between them.

    Args:
        learner: Exports and retrains.
        replay: Plays a slice.
        first: The events before the first slice, which were sent already.
        slices: The slices in the order of time.
        retrained: The address of the replica whose model is retrained.

    Returns:
        What came of each slice, and all exported events.
    """
    results, number = [], len(first)
    for place, events in enumerate(slices):
        results.append(asyncio.run(replay.play(actions_by_user(events, first_number=number))))
        number += len(events)
        CONSOLE.print(f"slice {place + 1} of {len(slices)}: {results[-1].recall()}")
        exported = learner.export()
        if place + 1 < len(slices) and (version := learner.retrain()) is not None:
            with Client(retrained, token=TOKEN, timeout_s=60) as client:
                client.activate(version)
    return results, exported


def measure(dataset: str, folder: Path, bindings: Sequence[str]) -> tuple[list[Played], dict[str, Any]]:
    """Plays a data set.

    Args:
        dataset: A MovieLens release by name, or a folder.
        folder: The folder of all files.
        bindings: gin bindings of the first training.

    Returns:
        What came of each slice, and the other figures.
    """
    data = load_dataset(dataset, data_dir=DATA_DIR)
    first, slices = divided(timeline(data), first_share=FIRST_SHARE, num_slices=NUM_SLICES)
    kinds = pl.concat([first, *slices])[EVENT_TYPE].unique().to_list()
    meaning = {name: {"dislike": name in data.disliking_types} for name in kinds}
    if not (folder / "first_half").exists():
        write_data_set(first, data.items, folder / "first_half")
    with tempfile.TemporaryDirectory() as store, ExitStack() as stack:
        settings = {"RQREC_DATA_DIR": store, "RQREC_EVENT_TYPES": json.dumps(meaning), "RQREC_ADMIN_TOKEN": TOKEN}
        learner = Learner(folder, Path(store) / "exported", settings)
        dislikes = dict.fromkeys(data.disliking_types, "dislike")
        learner.train(folder / "first_half", [*bindings, f"DatasetSettings.event_types={dislikes}"])
        settings["RQREC_BUNDLE"] = str(learner.bundles)
        begin = (learner.bundles / "current").resolve()
        urls = [stack.enter_context(running_service(settings))[0] for _ in range(2)]
        by_user = actions_by_user(first, first_number=0)
        send_all(urls[0], by_user)
        asked = frozenset(kinds) - set(data.disliking_types)
        replay = Replay({LIVE: urls[0], RETRAINED: urls[1]}, urls[0], FROZEN, first_lists(urls[0], [*by_user]), asked)
        results, exported = play_slices(learner, replay, first, slices, urls[1])
        figures = measure_freshness(urls, event_type=next(iter(asked)))
    figures |= lost_and_twice(exported, len(first) + sum(map(len, slices)))
    figures["retrain_share"] = float(np.mean(learner.retrain_s)) / learner.train_s
    figures["not_published"] = learner.not_published
    figures["id_stability"] = id_stability(begin, learner.bundles)
    return results, figures


def main() -> None:
    """Measures, prints a table, and one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", required=True, help="a MovieLens release by name, or a folder")
    parser.add_argument("--work-dir", type=Path, help="default artifacts/loop/<name>")
    parser.add_argument("--set", action="append", default=[], metavar="BINDING", help="a gin binding of the training")
    parser.add_argument("--aa-runs", type=int, default=AA_RUNS, help=f"simulated canaries (default {AA_RUNS})")
    arguments = parser.parse_args()
    set_up_output()
    folder = arguments.work_dir or Path("artifacts/loop") / Path(arguments.dataset).name
    with command_progress("loop"):
        results, figures = measure(arguments.dataset, folder, arguments.set)
    table = Table(title=f"recall@{K} of the next event; {description()}", title_justify="left")
    for column in ("slice", "lists", FROZEN, LIVE, RETRAINED):
        table.add_column(column, justify="right")
    for number, one in enumerate(results, 1):
        recall = one.recall()
        table.add_row(str(number), str(one.questions), *(f"{recall[name]:.4f}" for name in (FROZEN, LIVE, RETRAINED)))
    Console(width=140).print(table)
    questions = sum(one.questions for one in results)
    overall = {name: sum(one.hits[name] for one in results) / questions for name in (FROZEN, LIVE, RETRAINED)}
    alarms = max(share_of_alarms(found) for found in simulate_all(equal_models(), arguments.aa_runs).values())
    print(json.dumps({**overall, **figures, "aa_false_alarms": alarms}))


if __name__ == "__main__":
    main()
