"""The command `rqrec export-events`: which store it reads, and what it refuses."""

import asyncio
import signal
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from rqrec.service.events.event import Event
from rqrec.service.events.sqlite_store import SqliteEventStore
from rqrec.service.events.store import StoreLimits
from rqrec.service.export_events.__main__ import EXIT_REFUSED, EXIT_UNAVAILABLE, main
from rqrec.service.export_events.event_files import EventFiles

REPOSITORY = Path(__file__).parents[3]


@pytest.fixture
def data_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of an event store with one event, which the settings name."""
    store = SqliteEventStore(tmp_path / "data" / "events.sqlite", StoreLimits())
    with asyncio.Runner() as runner:
        runner.run(store.append([Event("e1", "anna", "588", "view", 1_700_000_000.0)]))
        runner.run(store.close())
    monkeypatch.setenv("RQREC_DATA_DIR", str(tmp_path / "data"))
    return tmp_path / "data"


def exported(folder: Path) -> list[str]:
    files = sorted(folder.rglob("part-*.parquet"))
    return [event_id for file in files for event_id in pl.read_parquet(file)["event_id"]]


@pytest.mark.usefixtures("data_dir")
def test_it_exports_the_store_of_the_settings(tmp_path: Path) -> None:
    main([str(tmp_path / "events")])
    assert exported(tmp_path / "events") == ["e1"]


@pytest.mark.usefixtures("data_dir")
def test_it_repeats_until_it_is_stopped(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "rqrec", "export-events", str(tmp_path / "events"), "--every", "1s"]
    process = subprocess.Popen(command, cwd=REPOSITORY, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    lines = [process.stderr.readline() for _ in range(2)]
    assert ["1 events exported" in lines[0], "0 events exported" in lines[1]] == [True, True]
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM
    assert exported(tmp_path / "events") == ["e1"]


@pytest.mark.usefixtures("data_dir")
@pytest.mark.parametrize("every", ["60", "0s", "1w", "-5s", "1.5h"])
def test_a_time_that_it_cannot_read_is_refused(tmp_path: Path, every: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_info:
        main([str(tmp_path / "events"), f"--every={every}"])
    assert exit_info.value.code == EXIT_REFUSED
    assert f"expected a time such as 60s, 5m, 1h or 1d, got '{every}'" in capsys.readouterr().err


@pytest.mark.usefixtures("data_dir")
def test_a_folder_in_use_is_refused_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with EventFiles(tmp_path / "events").locked(), pytest.raises(SystemExit) as exit_info:
        main([str(tmp_path / "events")])
    assert exit_info.value.code == EXIT_REFUSED
    assert capsys.readouterr().err.startswith("rqrec export-events: another process exports to ")


@pytest.mark.usefixtures("data_dir")
@pytest.mark.parametrize("name", ["part-00000099.parquet", "part-copy.parquet"])
@pytest.mark.parametrize("content", [pl.DataFrame({"user_id": ["anna"]}), None])
def test_a_file_that_no_export_wrote_is_refused_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, content: pl.DataFrame | None
) -> None:
    main([str(tmp_path / "events")])
    (part,) = (tmp_path / "events").rglob("part-*.parquet")
    foreign = part.with_name(name)
    foreign.write_bytes(b"no Parquet") if content is None else content.write_parquet(foreign)
    capsys.readouterr()
    with pytest.raises(SystemExit) as exit_info:
        main([str(tmp_path / "events")])
    assert exit_info.value.code == EXIT_REFUSED
    (line,) = capsys.readouterr().err.splitlines()
    assert f"{foreign} is not, or is damaged" in line


@pytest.mark.usefixtures("data_dir")
def test_a_full_disk_is_one_line_and_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    events = tmp_path / "events"

    def full(_: pl.DataFrame, file: Path, **__: object) -> None:
        file.write_bytes(b"PAR1")
        raise pl.exceptions.ComputeError("underlying IO error: No space left on device (os error 28)")

    with monkeypatch.context() as patched, pytest.raises(SystemExit) as exit_info:
        patched.setattr(pl.DataFrame, "write_parquet", full)
        main([str(events)])
    assert exit_info.value.code == EXIT_REFUSED
    (line,) = capsys.readouterr().err.splitlines()
    assert "part-00000000.parquet cannot be written (underlying IO error: No space left on device" in line
    (day,) = (events / "interactions").iterdir()
    assert list(day.iterdir()) == []
    for name in (".part-00000000.parquet", ".unfinished-1-part-00000000.parquet"):  # of processes that were killed
        (day / name).touch()
    main([str(events)])
    assert [file.name for file in day.iterdir()] == ["part-00000000.parquet"]
    assert exported(events) == ["e1"]


def test_a_store_that_does_not_answer_ends_a_single_export(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RQREC_REDIS_URL", "redis://127.0.0.1:1")
    with pytest.raises(SystemExit) as exit_info:
        main([str(tmp_path / "events")])
    assert exit_info.value.code == EXIT_UNAVAILABLE
    assert "run the same command again" in capsys.readouterr().err


def test_a_wrong_setting_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RQREC_USER_HISTORY", "none")
    with pytest.raises(SystemExit) as exit_info:
        main([str(tmp_path / "events")])
    assert exit_info.value.code == EXIT_REFUSED
    assert "RQREC_USER_HISTORY: " in capsys.readouterr().err


def test_a_store_that_does_not_exist_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RQREC_DATA_DIR", str(tmp_path / "missing"))
    with pytest.raises(SystemExit) as exit_info:
        main([str(tmp_path / "events")])
    assert exit_info.value.code == EXIT_UNAVAILABLE
    expected = f"expected an event store in {tmp_path / 'missing' / 'events.sqlite'}, found none: set RQREC_DATA_DIR"
    assert expected in capsys.readouterr().err
