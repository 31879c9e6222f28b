import logging
import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from rqrec.service.errors import StoreUnavailable
from rqrec.service.events.event import Event, Impression, UserPage
from rqrec.service.events.sqlite_file import SCHEMA, SCHEMA_VERSION, open_for_writing
from rqrec.service.events.sqlite_writes import DELETED_AT_ONCE
from rqrec.service.events.store import START, AppendResult
from rqrec.service.outcomes.outcome_counts import Arm, OutcomeCounts
from tests.service.events.opened_store import OpenedStore
from tests.service.events.writing_process import numbered

WRITER = (sys.executable, "-m", "tests.service.events.writing_process")


@pytest.fixture
def opened(file: Path) -> Iterator[OpenedStore]:
    opened = OpenedStore(file)
    yield opened
    opened.close()


def start_writer(file: Path, first: int, last: int, size: int) -> "subprocess.Popen[str]":
    command = [*WRITER, str(file), str(first), str(last), str(size)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ})


def stored_numbers(opened: OpenedStore) -> list[int]:
    numbers, position = list[int](), START
    while (page := opened.run(opened.store.read(position, 1000))).records:
        numbers += [int(record.event_id) for record in page.records if isinstance(record, Event)]
        position = page.position
    return numbers


def test_an_event_that_was_confirmed_before_a_kill_is_there_once(file: Path) -> None:
    confirmed = set[int]()
    for kill in range(3):
        writer = start_writer(file, 100_000 * kill, 100_000 * (kill + 1), 7)
        assert writer.stdout is not None
        for _ in range(60):
            _, begin, end = map(int, writer.stdout.readline().split())
            confirmed.update(range(begin, end))
        writer.kill()
        rest = [line for line in writer.stdout.read().splitlines(keepends=True) if line.endswith("\n")]
        confirmed.update(number for line in rest for number in range(*map(int, line.split()[1:])))
        writer.wait()
        writer.stdout.close()
        opened = OpenedStore(file)
        numbers = stored_numbers(opened)
        entries = [entry for user in range(5) for entry in opened.run(opened.store.history(f"user {user}", 1 << 30))]
        again = opened.run(opened.store.append([numbered(number) for number in confirmed]))
        opened.close()
        assert len(numbers) == len(set(numbers))
        assert confirmed <= set(numbers)
        assert sorted(entry.at for entry in entries) == sorted(map(float, numbers))
        assert again == AppendResult(accepted=0, duplicates=len(confirmed))


def test_processes_that_share_a_file_store_every_event_once(file: Path) -> None:
    writers = [start_writer(file, *bounds, 5) for bounds in ((0, 1000), (500, 1500), (0, 700))]
    lines = [line for writer in writers for line in writer.communicate()[0].splitlines()]
    assert [writer.returncode for writer in writers] == [0, 0, 0]
    opened = OpenedStore(file)
    numbers = stored_numbers(opened)
    opened.close()
    assert sorted(numbers) == list(range(1500))
    assert sum(int(line.split()[0]) for line in lines) == 1500


def test_a_file_can_be_made_by_several_at_once(tmp_path: Path) -> None:
    for number in range(50):
        path = tmp_path / str(number) / "events.sqlite"
        failures = list[BaseException]()

        def make(path: Path = path, failures: list[BaseException] = failures) -> None:
            try:
                open_for_writing(path).close()
            except BaseException as error:
                failures.append(error)

        threads = [threading.Thread(target=make) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == []
        # The last connections may close at once: then each leaves SQLite's own files to the other.
        assert {one.name for one in path.parent.iterdir()} <= {path.name, f"{path.name}-shm", f"{path.name}-wal"}


def test_reading_makes_no_file(file: Path, opened: OpenedStore) -> None:
    assert opened.user("ann") == UserPage([], [], [])
    assert not file.parent.exists()
    opened.run(opened.store.append([numbered(1)]))
    assert file.is_file()
    assert len(opened.user("user 1").events) == 1


def test_a_user_with_many_events_is_forgotten_in_several_transactions(opened: OpenedStore) -> None:
    run, store = opened.run, opened.store
    events = [replace(numbered(number), user_id="ann") for number in range(DELETED_AT_ONCE + 500)]
    for begin in range(0, len(events), 1000):
        run(store.append(events[begin : begin + 1000]))

    position = run(store.forget("ann"))
    run(store.append([replace(numbered(-1), user_id="ann")]))
    run(store.drop_events("ann", position))
    assert stored_numbers(opened) == [-1]


@pytest.mark.parametrize(
    ("version", "reason"), [(SCHEMA_VERSION + 1, "a newer release wrote it; update"), (0, "other software wrote it")]
)
def test_a_file_of_another_schema_is_refused(file: Path, opened: OpenedStore, version: int, reason: str) -> None:
    opened.run(opened.store.append([numbered(1)]))
    opened.run(opened.store.close())
    with sqlite3.connect(file) as connection:
        connection.execute(f"PRAGMA user_version = {version}")
    connection.close()
    opened.open()
    for call in (opened.store.append([numbered(2)]), opened.store.history("user 1", 1)):
        with pytest.raises(StoreUnavailable, match=reason):
            opened.run(call)


def test_a_file_that_cannot_be_used_is_an_error_until_it_can(
    file: Path, opened: OpenedStore, caplog: pytest.LogCaptureFixture
) -> None:
    file.parent.mkdir()
    file.write_bytes(b"no database, but text of more than one page" * 1000)
    with caplog.at_level(logging.WARNING, "rqrec"):
        for _ in range(2):
            for call in (opened.store.append([numbered(1)]), opened.store.history("user 1", 1)):
                with pytest.raises(StoreUnavailable, match="file is not a database"):
                    opened.run(call)
    assert len([record for record in caplog.records if "cannot write" in record.message]) == 1
    file.unlink()
    assert opened.run(opened.store.append([numbered(1)])).accepted == 1
    assert len(opened.run(opened.store.history("user 1", 1))) == 1


def test_what_a_new_file_holds_comes_after_all_that_was_read_from_the_file_before(
    file: Path, opened: OpenedStore
) -> None:
    opened.run(opened.store.append([numbered(number) for number in range(5000)]))
    position, num_read = START, 0
    while (page := opened.run(opened.store.read(position, 1000))).records:
        position, num_read = page.position, num_read + len(page.records)
    assert num_read == 5000
    opened.run(opened.store.close())
    file.unlink()
    opened.open()
    opened.run(opened.store.append([numbered(1)]))
    opened.run(opened.store.trim(position))
    assert opened.run(opened.store.read(position, 16)).records == [numbered(1)]


def test_a_closed_store_takes_no_calls(opened: OpenedStore) -> None:
    store = opened.store
    opened.reopen()
    with pytest.raises(StoreUnavailable, match="the event store is closed"):
        opened.run(store.append([numbered(1)]))


def test_a_full_disk_stores_nothing_of_a_call(file: Path, opened: OpenedStore) -> None:
    opened.run(opened.store.append([numbered(1)]))
    blocker = sqlite3.connect(file)
    pages = blocker.execute("PRAGMA page_count").fetchone()[0]
    blocker.close()
    writer = opened.store._writer  # type: ignore[attr-defined]
    writer._connection.execute(f"PRAGMA max_page_count = {pages + 3}")
    with pytest.raises(StoreUnavailable, match="database or disk is full"):
        opened.run(opened.store.append([numbered(number) for number in range(2, 1000)]))
    assert stored_numbers(opened) == [1]
    assert opened.run(opened.store.append([numbered(2)])).accepted == 1  # opens the file again


def test_a_path_that_no_file_can_have_is_an_error_of_the_store(tmp_path: Path) -> None:
    opened = OpenedStore(tmp_path / ("x" * 300) / "events.sqlite")
    for call in (opened.store.append([numbered(1)]), opened.store.history("user 1", 1), opened.store.impression("r")):
        with pytest.raises(StoreUnavailable, match="File name too long"):
            opened.run(call)
    opened.close()


def test_a_value_that_the_store_did_not_write_is_an_error_of_the_store(file: Path, opened: OpenedStore) -> None:
    opened.run(opened.store.append([numbered(1)]))
    with sqlite3.connect(file) as connection:
        connection.execute("UPDATE history SET entry = 'no JSON'")
        connection.execute("UPDATE records SET event = '[]'")
    connection.close()
    for call in (
        opened.store.history("user 1", 1),
        opened.store.user("user 1", START, 100),
        opened.store.read(START, 100),
    ):
        with pytest.raises(StoreUnavailable):
            opened.run(call)


def test_the_file_of_another_program_is_refused(file: Path, opened: OpenedStore) -> None:
    file.parent.mkdir()
    with sqlite3.connect(file) as connection:
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        connection.execute("CREATE TABLE films (title TEXT)")
    connection.close()
    for call in (opened.store.append([numbered(1)]), opened.store.history("user 1", 1)):
        with pytest.raises(StoreUnavailable, match="other software wrote it"):
            opened.run(call)


def test_a_file_of_an_older_release_is_brought_up_to_date(file: Path) -> None:
    file.parent.mkdir()
    with closing(sqlite3.connect(file)) as connection:
        connection.executescript(f"PRAGMA journal_mode = WAL; BEGIN; {SCHEMA} COMMIT;")
        shown = '["list 1", null, "home", "model-1", "active", ["item 1"], 2e9, null]'
        connection.execute("INSERT INTO impressions VALUES ('list 1', NULL, 2e9, ?)", (shown,))
        connection.commit()
    opened = OpenedStore(file)
    assert opened.run(opened.store.outcome_counts(1)) == OutcomeCounts({})  # a reader comes first
    old = opened.run(opened.store.impression("list 1"))
    assert old is not None
    assert old == Impression("list 1", None, "home", "model-1", "active", ("item 1",), 2e9)
    opened.run(opened.store.add_impressions([replace(old, recommendation_id="list 2", trial=1)]))
    assert opened.run(opened.store.outcome_counts(1)).total(Arm("model-1", "active")).impressions == 1
    opened.close()
