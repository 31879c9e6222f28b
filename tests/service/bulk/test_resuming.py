"""A run that is killed at any time and begun again makes every list once."""

import contextlib
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pytest

from rqrec.models import files
from rqrec.models.errors import UserError
from tests.service.bulk.conftest import Run, lists_in, random_histories

REPOSITORY = Path(__file__).parents[3]
USERS = 1100  # two slices


class Killed(BaseException):
    """Ends a run where it stands."""


def test_a_crash_at_any_step_of_the_files_loses_and_repeats_nothing(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    users = random_histories(USERS).with_columns(
        history=pl.when(pl.int_range(pl.len()) % 500 > 0).then("history")  # the others are skipped
    )
    users.write_parquet(tmp_path / "in.parquet")
    out, steps, crash_at, to_disk = tmp_path / "out", 0, 0, files.to_disk

    def crashing(path: Path) -> None:
        nonlocal steps
        steps += 1
        if steps == crash_at:
            raise Killed
        to_disk(path)

    monkeypatch.setattr("rqrec.models.files.to_disk", crashing)
    while steps >= crash_at:
        shutil.rmtree(out, ignore_errors=True)
        steps, crash_at = 0, crash_at + 1
        with contextlib.suppress(Killed):
            run(tmp_path / "in.parquet", {"k": 2, "beam_width": 4})
        figures = run(tmp_path / "in.parquet", {"k": 2, "beam_width": 4}).figures
        assert (figures.users, figures.lists, figures.skipped) == (USERS, USERS - 3, 3)
        assert len(lists_in(out)) == USERS - 3
        assert len(pl.read_parquet(out / "skipped")) == 3
        assert not list(out.rglob(".*"))
    assert crash_at > 10


def test_a_run_goes_on_only_with_the_same_input_and_options(run: Run, tmp_path: Path) -> None:
    source = tmp_path / "in.parquet"
    random_histories(20).write_parquet(source)
    assert run(source, {"k": 2}).num_users == 20
    assert run(source, {"k": 2}).num_users == 0
    with pytest.raises(UserError, match='request was .*, is .*"k": 3'):
        run(source, {"k": 3})
    size = source.stat().st_size
    random_histories(21).write_parquet(source)
    with pytest.raises(UserError, match=rf"in.parquet had {size:,} bytes and has [\d,]+ bytes, changed 2.*UTC\): give"):
        run(source, {"k": 2})
    others = tmp_path / "others"
    others.mkdir()
    for name in "abcd":
        shutil.copy(source, others / f"{name}.parquet")
    with pytest.raises(
        UserError, match=r"\(in.parquet is gone; a.parquet is new with [\d,]+ bytes, .*; b.parquet .*; 5 changes\)"
    ):
        run(others, {"k": 2})


def test_lists_that_were_lost_after_the_end_are_made_again(run: Run, tmp_path: Path) -> None:
    source, lists = tmp_path / "in.parquet", tmp_path / "out" / "lists"
    random_histories(USERS).write_parquet(source)
    request = {"k": 2, "beam_width": 4}
    run(source, request)
    whole = lists_in(tmp_path / "out")
    (lists / "part-00001.parquet").unlink()
    assert run(source, request).num_users == USERS - 1024
    assert lists_in(tmp_path / "out") == whole
    shutil.copy(lists / "part-00000.parquet", lists / "part-00001.parquet")
    with pytest.raises(UserError, match="part-00001.parquet is none .*it has the lists of part-00000"):
        run(source, request)
    (lists / "part-00001.parquet").write_bytes(b"PAR1")
    with pytest.raises(UserError, match="part-00001.parquet is none or is damaged"):
        run(source, request)
    (lists / "part-00001.parquet").unlink()
    run(source, request)
    (tmp_path / "out" / "bulk.json").write_text("{")
    with pytest.raises(UserError, match="bulk.json is damaged"):
        run(source, request)


def test_the_command_is_killed_and_goes_on(bundles: Path, tmp_path: Path) -> None:
    random_histories(16_000).write_parquet(tmp_path / "in.parquet")
    out = tmp_path / "out"
    command = [sys.executable, "-m", "rqrec", "bulk", "--bundle", str(bundles), "--out", str(out), "--k", "2"]
    command += ["--histories", str(tmp_path / "in.parquet"), "--workers", "2"]
    process = subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not list(out.glob("lists/part-*.parquet")):
        assert process.poll() is None, "the command must not end before it is killed"
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = len(list(out.glob("lists/part-*.parquet")))
    assert 0 < done < 16
    again = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert "16,000 users: 16,000 lists with 32,000 items" in again.stdout
    assert {len(one) for one in lists_in(out).values()} == {2}
    assert len(lists_in(out)) == 16_000
