"""Events reach the files exactly once, whatever crashes in between, and training reads the files."""

from collections.abc import Callable, Iterator, Sequence
from datetime import date
from itertools import count
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from rqrec.models.bundle.bundle import Bundle
from rqrec.models.bundle.layout import ITEMS
from rqrec.models.files import to_disk
from rqrec.service.events.event import Event
from rqrec.service.events.store import START
from rqrec.service.export_events import event_files, export, progress_log
from rqrec.service.export_events.event_files import COLUMNS, EventFiles, ExportBusy, Progress
from rqrec.service.export_events.export import Exported, OtherStore, export_events
from rqrec.training.data.settings import DatasetSettings
from rqrec.training.data.sources import load_dataset
from tests.service.events.opened_store import OpenedStore

START_S = 1_700_000_000.0
STEPS_OF_EXPORT = 30  # more than an export of the test has


class Crash(Exception):
    """Stands for the end of the process."""


@pytest.fixture(params=["sqlite", "redis"])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[OpenedStore]:
    """An empty store in an SQLite file, and then in a real Redis."""
    sqlite = tmp_path / "data" / "events.sqlite"
    one = OpenedStore(sqlite if request.param == "sqlite" else request.getfixturevalue("redis_server").url)
    yield one
    one.close()


@pytest.fixture
def in_file(tmp_path: Path) -> Iterator[OpenedStore]:
    """An empty store in an SQLite file."""
    one = OpenedStore(tmp_path / "data" / "events.sqlite")
    yield one
    one.close()


def event(number: int, *, user: str = "anna", **others: Any) -> Event:
    return Event(f"e{number}", user, f"i{number % 7}", "view", START_S + number, **others)


def table(folder: Path) -> pl.DataFrame:
    files = sorted(folder.rglob("part-*.parquet"), key=lambda file: file.name)
    return pl.concat([pl.read_parquet(file, hive_partitioning=False) for file in files])


def ids(folder: Path) -> list[str]:
    return table(folder)["event_id"].to_list()


def export_all(opened: OpenedStore, folder: Path, *, replaces: bool = False) -> Exported:
    with EventFiles(folder).locked():
        return opened.run(export_events(opened.store, EventFiles(folder), replaces=replaces))


def test_events_move_to_files_with_all_that_they_say(opened: OpenedStore, tmp_path: Path) -> None:
    events = [event(1), event(2, value=9.5, recommendation_id="r1"), event(3, user="bert")]
    opened.run(opened.store.append(events))
    assert export_all(opened, tmp_path) == Exported(3, 0)
    written = table(tmp_path)
    assert written.schema == {name: kind for name, (_, kind) in COLUMNS.items()}
    rows = {row["event_id"]: row for row in written.to_dicts()}
    assert rows["e2"]["value"] == 9.5
    assert rows["e2"]["recommendation_id"] == "r1"
    assert rows["e1"]["value"] is None
    assert {row["timestamp"].timestamp() for row in rows.values()} == {START_S + number for number in (1, 2, 3)}
    assert opened.run(opened.store.size()) == 0
    assert len(opened.run(opened.store.history("anna", 10))) == 2


def test_an_export_without_new_events_changes_nothing(opened: OpenedStore, tmp_path: Path) -> None:
    opened.run(opened.store.append([event(1)]))
    export_all(opened, tmp_path)
    (file,) = tmp_path.rglob("part-*.parquet")
    before = file.stat().st_mtime_ns
    assert export_all(opened, tmp_path) == Exported(0, 0)
    assert file.stat().st_mtime_ns == before


def test_forgotten_users_leave_the_files_and_come_back_as_new_users(opened: OpenedStore, tmp_path: Path) -> None:
    opened.run(opened.store.append([event(1), event(2, user="bert")]))
    export_all(opened, tmp_path)
    opened.run(opened.store.append([event(3)]))
    opened.forget("anna")
    opened.run(opened.store.append([event(4), event(5, user="bert")]))
    assert export_all(opened, tmp_path) == Exported(2, 1)
    assert sorted(ids(tmp_path)) == ["e2", "e4", "e5"]


def test_a_long_export_says_how_far_it_is(
    in_file: OpenedStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    clock = count(step=15)  # seconds between two looks at the clock
    monkeypatch.setattr(export, "PAGE", 16)
    monkeypatch.setattr(progress_log, "monotonic", lambda: next(clock))
    caplog.set_level("INFO", "rqrec")
    in_file.run(in_file.store.append([event(number) for number in range(50)]))
    export_all(in_file, tmp_path)
    assert caplog.messages == [
        "32 events exported so far, 18 records left",
        "50 events exported so far, 0 records left",
    ]
    clock = count(step=25)
    in_file.forget("anna")
    export_all(in_file, tmp_path)
    assert "0 of 1 files searched for events of forgotten users" in caplog.messages


def steps_crash(patched: pytest.MonkeyPatch, opened: OpenedStore, crash_at: int) -> None:
    """Lets the export crash at one of its steps: the flushes and renames of files, and the calls of the store."""
    number = count()

    def crashing(step: Callable[..., Any]) -> Callable[..., Any]:
        def taken(*arguments: Any) -> Any:
            if next(number) == crash_at:
                raise Crash
            return step(*arguments)

        return taken

    patched.setattr("rqrec.models.files.to_disk", crashing(to_disk))
    patched.setattr(Path, "rename", crashing(Path.rename))
    patched.setattr(opened.store, "trim", crashing(opened.store.trim))
    patched.setattr(opened.store, "read", crashing(opened.store.read))


def test_a_crash_at_any_step_loses_nothing_and_exports_nothing_twice(
    in_file: OpenedStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "PAGE", 16)
    for crash_at in range(STEPS_OF_EXPORT):
        folder, user = tmp_path / f"crash-{crash_at}", f"user-{crash_at}"
        first = 1000 * crash_at
        in_file.run(in_file.store.append([event(first + number, user=user) for number in range(3)]))
        export_all(in_file, folder)
        in_file.run(in_file.store.append([event(first + number, user="other") for number in range(3, 20)]))
        in_file.forget(user)
        in_file.run(in_file.store.append([event(first + number, user=user) for number in range(20, 40)]))
        with monkeypatch.context() as patched:
            steps_crash(patched, in_file, crash_at)
            try:
                export_all(in_file, folder)
                has_crashed = False
            except Crash:
                has_crashed = True
        export_all(in_file, folder)
        assert sorted(ids(folder)) == sorted(f"e{first + number}" for number in range(3, 40)), crash_at
        assert in_file.run(in_file.store.size()) == 0
    assert not has_crashed  # the last crash came after the last step, so every step had one


def test_files_are_in_a_folder_for_each_day_and_grow_up_to_a_number_of_events(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_files, "EVENTS_IN_FILE", 3)
    files, days = EventFiles(tmp_path), [date(2026, 1, 30), date(2026, 1, 31)]
    with files.locked():
        assert files.progress() == Progress(START, None)
        for number, day in enumerate([days[0]] * 4 + [days[1]]):
            files.add([event(number)], Progress(str(number), "a store"), today=day)
            assert files.progress() == Progress(str(number), "a store")
    names = sorted(str(file.relative_to(tmp_path)) for file in tmp_path.rglob("part-*"))
    assert names == [
        "interactions/day=2026-01-30/part-00000000.parquet",
        "interactions/day=2026-01-30/part-00000001.parquet",
        "interactions/day=2026-01-31/part-00000002.parquet",
    ]
    assert ids(tmp_path) == [f"e{number}" for number in range(5)]


def test_two_exports_to_one_folder_at_a_time_are_refused(tmp_path: Path) -> None:
    busy = pytest.raises(ExportBusy, match="another process exports to")
    with EventFiles(tmp_path).locked(), busy, EventFiles(tmp_path).locked():
        pass
    with EventFiles(tmp_path).locked():
        pass


def test_files_of_another_store_are_refused(in_file: OpenedStore, tmp_path: Path) -> None:
    files = EventFiles(tmp_path)
    with files.locked():
        files.add([event(1)], Progress("no position of SQLite", None))
    with pytest.raises(OtherStore, match="exported from another event store: use another folder"):
        export_all(in_file, tmp_path)


def test_another_store_is_refused_before_anything_is_changed_unless_the_first_one_is_lost(
    opened: OpenedStore, tmp_path: Path
) -> None:
    other = OpenedStore(tmp_path / "other" / "events.sqlite")
    opened.run(opened.store.append([event(1), event(2)]))
    other.run(other.store.append([event(3), event(4)]))
    assert export_all(opened, tmp_path) == Exported(2, 0)
    opened.reopen()
    opened.run(opened.store.append([event(5)]))
    assert export_all(opened, tmp_path) == Exported(1, 0)
    with pytest.raises(OtherStore, match="exported from another event store, .*: use another folder.*replaces-lost"):
        export_all(other, tmp_path)
    assert other.run(other.store.size()) == 2
    assert ids(tmp_path) == ["e1", "e2", "e5"]
    assert export_all(other, tmp_path, replaces=True) == Exported(2, 0)
    with pytest.raises(OtherStore):
        export_all(opened, tmp_path)
    assert export_all(other, tmp_path) == Exported(0, 0)
    assert ids(tmp_path) == ["e1", "e2", "e5", "e3", "e4"]
    other.close()


def test_training_reads_the_files_with_the_items_of_a_bundle(
    in_file: OpenedStore, bundle: Bundle, tmp_path: Path
) -> None:
    known: Sequence[str] = bundle.items["item_id"].to_list()
    events = [
        Event(f"e{number}", f"u{number % 2}", known[number], kind, START_S + number, value=-1.0)
        for number, kind in enumerate(["view", "purchase", "view", "dislike"])
    ]
    in_file.run(in_file.store.append(events))
    export_all(in_file, tmp_path / "events")
    settings = DatasetSettings(items=str(bundle.path / ITEMS), times="auto")
    dataset = load_dataset(str(tmp_path / "events"), data_dir=tmp_path, settings=settings)
    assert dataset.items["item_id"].to_list() == known
    assert set(dataset.items.columns) == set(bundle.items.columns)
    assert set(dataset.event_types) == {"view", "purchase", "dislike"}
    assert dataset.disliking_types == ("dislike",)
    times = dataset.interactions.sort("timestamp")["timestamp"].to_list()
    assert times == [round(1e6 * (START_S + number)) for number in range(4)]
