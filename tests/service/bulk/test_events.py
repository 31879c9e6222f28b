"""Lists for the users of exported events."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from rqrec.models.errors import UserError
from rqrec.service.bulk import grouping
from rqrec.service.bulk.grouping import HistoryRules, event_files, group_events
from rqrec.service.events.event import Event, HistoryEntry
from rqrec.service.events.store import StoreLimits
from rqrec.service.export_events.event_files import EventFiles, Progress
from tests.service.bulk.conftest import FILMS, Run, lists_in
from tests.service.events.plain_store import PlainStore


def random_events(count: int) -> list[Event]:
    rng = np.random.default_rng(2)
    types = rng.choice(["view", "purchase", "dislike", "other"], count, p=[0.6, 0.2, 0.1, 0.1])
    return [
        Event(str(number), f"user {rng.integers(0, 20)}", FILMS[rng.integers(0, len(FILMS))], str(kind), 1e9 + time)
        for number, (kind, time) in enumerate(zip(types, rng.integers(0, count // 3, count).tolist(), strict=True))
    ]


def export(folder: Path, events: list[Event]) -> Path:
    """Writes a file for each of three days, of which the second one starts a new file by its date."""
    files, day = EventFiles(folder), datetime(2026, 1, 30, tzinfo=UTC)
    with files.locked():
        for number in range(3):
            part = events[number * len(events) // 3 : (number + 1) * len(events) // 3]
            files.add(part, Progress(str(number), "store"), today=(day + timedelta(days=number)).date())
    return folder


def test_histories_are_those_of_an_event_store_whatever_the_order_of_arrival(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grouping, "EVENTS_IN_MEMORY", 100)
    events = random_events(600)
    rules = HistoryRules(frozenset({"view", "purchase", "dislike"}), 7)
    files = group_events(event_files(export(tmp_path / "events", events)), tmp_path / "histories", rules)
    assert len(files) > 3
    store = PlainStore(StoreLimits(user_history=7, history_types=frozenset(rules.stored_types)))
    store.append(events)
    got = {
        user_id: [HistoryEntry(one["item_id"], one["type"], one["at"]) for one in history]
        for user_id, history in pl.read_parquet(tmp_path / "histories").iter_rows()
    }
    assert got == {one.user_id: store.history(one.user_id) for one in events}


def test_lists_follow_the_rules_of_event_types(run: Run, tmp_path: Path) -> None:
    events = [
        Event("1", "a", "100", "view", 1.0),
        Event("2", "a", "101", "dislike", 2.0),
        Event("3", "b", "100", "purchase", 3.0),
        Event("4", "c", "100", "other", 4.0),  # no type of the service, so c has no history
    ]
    figures = run(
        export(tmp_path / "events", events), {"exclude_types": ["purchase"], "k": 63}, has_events=True
    ).figures
    lists = lists_in(tmp_path / "out")
    assert (figures.users, figures.popular) == (3, 1)
    assert {"100", "101"} & set(lists["a"]) == set()
    assert set(FILMS) - set(lists["b"]) == {"100"}
    assert "100" in lists["c"]
    assert sorted(one.name for one in (tmp_path / "out").iterdir()) == ["bulk.json", "lists", "summary.json"]


def test_other_tables_are_refused(run: Run, tmp_path: Path) -> None:
    pl.DataFrame({"user_id": ["a"], "history": [["100"]]}).write_parquet(tmp_path / "in.parquet")
    with pytest.raises(UserError, match="expected the column item_id of strings"):
        run(tmp_path / "in.parquet", has_events=True)


def test_a_full_disk_while_histories_are_made_is_told_and_the_run_goes_on(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events = export(tmp_path / "events", random_events(60))

    def full(*_: object, **__: object) -> None:
        raise pl.exceptions.ComputeError("No space left on device (os error 28)\n\nThis error occurred in sink")

    with monkeypatch.context() as patched:
        patched.setattr(pl.DataFrame, "write_parquet", full)
        with pytest.raises(UserError, match=r"in .*out/histories \(No space left on device \(os error 28\)\): free"):
            run(events, has_events=True)
    assert [one.name for one in (tmp_path / "out").iterdir()] == ["bulk.json"]
    assert run(events, has_events=True).figures.users == len({one.user_id for one in random_events(60)})
