import logging
import os
import pty
import re
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path
from subprocess import DEVNULL, PIPE, STDOUT

import pytest

from rqrec.training.runtime import progress as module
from rqrec.training.runtime.progress import LINE_EVERY_S, Task, command_progress, duration, progress
from tests.training.forked import start_command

REPOSITORY = Path(__file__).parents[3]
CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]")
# A run of its own process that tells a line ten times a second.
RUN = """
import sys
from rqrec.cli import main
from rqrec.training.runtime import progress
progress.LINE_EVERY_S = 0.1
main(sys.argv[1:])
"""
PROGRAM = (sys.executable, "-c", RUN)
LONGEST_PAUSE_S = 3.0  # with a line every 0.1 s, as 30 s are with one every 20 s; a busy machine may be late
SMALL = ("FeatureSettings.text_encoder=lsa", "RqVaeSettings.hidden_widths=(16,)", "RqVaeSettings.codebook_size=16")


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    monkeypatch.setattr(module, "LINE_EVERY_S", 0.02)
    caplog.set_level(logging.INFO, "rqrec")
    return caplog


def until_told(lines: pytest.LogCaptureFixture, text: str) -> str:
    give_up = time.monotonic() + 10
    while time.monotonic() < give_up:
        for line in lines.messages:
            if text in line:
                return line
        time.sleep(0.01)
    raise AssertionError(lines.messages)


def test_a_line_comes_at_least_every_30_seconds() -> None:
    assert LINE_EVERY_S <= 30


def test_a_line_says_stage_position_loss_and_time_left(quick: pytest.LogCaptureFixture) -> None:
    with progress("decoder"), progress("decoder", total=2000, done=100) as task:
        task.show(done=300, loss="4.4708")
        task.begin_s = time.monotonic() - 100
        line = until_told(quick, "300 of")
    assert re.fullmatch(r"decoder: 300 of 2,000 steps \(15 %\), loss 4\.4708, about 14 min left, running for 0 s", line)


def test_the_innermost_task_is_told(quick: pytest.LogCaptureFixture) -> None:
    with progress("evaluation"):
        until_told(quick, "evaluation: running for 0 s")
        with progress("ranking", total=943, unit="users") as task:
            task.advance(128)
            until_told(quick, "evaluation: ranking: 128 of 943 users (13 %), about")
        quick.clear()
        until_told(quick, "evaluation: running for")


def test_lines_come_between_stages_too_until_the_command_ends(quick: pytest.LogCaptureFixture) -> None:
    with command_progress("rqrec train"):
        until_told(quick, "rqrec train: running for 0 s")
        with progress("data"), progress("reading"):
            until_told(quick, "data: reading: running for")
        quick.clear()
        until_told(quick, "rqrec train: running for")
    told = len(quick.messages)
    time.sleep(0.1)
    assert len(quick.messages) == told


def test_the_last_line_comes_before_the_end(quick: pytest.LogCaptureFixture) -> None:
    with progress("data"):
        until_told(quick, "data: running")
    told = len(quick.messages)
    time.sleep(0.1)
    assert len(quick.messages) == told


def test_a_task_that_is_left_late_harms_nothing(quick: pytest.LogCaptureFixture) -> None:
    outer, inner = progress("evaluation"), progress("ranking")
    outer.__enter__()
    inner.__enter__()
    outer.__exit__(None, None, None)
    inner.__exit__(None, None, None)
    with progress("publish"):
        until_told(quick, "publish: running")


def test_a_step_with_a_name_begins_when_the_one_before_is_done() -> None:
    task = Task("publish", 3, "steps", 0, 0)
    task.next_step("the tokenizer")
    assert str(task) == "0 of 3 steps, now the tokenizer"
    task.next_step("the search")
    assert str(task) == "1 of 3 steps, now the search"


@pytest.mark.parametrize(("seconds", "text"), [(4, "4 s"), (90, "2 min"), (5000, "83 min"), (12_000, "3 h 20 min")])
def test_times_are_told_as_people_say_them(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def command(shop: Path, work: Path, steps: int = 300) -> list[str]:
    bindings = [word for one in (*SMALL, f"RqVaeSettings.steps={steps}") for word in ("--set", one)]
    return ["train-rqvae", "--dataset", str(shop), "--work-dir", str(work), *bindings]


def test_without_a_terminal_a_run_writes_plain_lines_and_is_never_silent(shop: Path, tmp_path: Path) -> None:
    lines, times = list[str](), list[float]()
    with subprocess.Popen(
        [*PROGRAM, *command(shop, tmp_path / "work")], cwd=REPOSITORY, stdout=PIPE, stderr=STDOUT, stdin=DEVNULL
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:  # in bytes: a text stream would turn \r into \n
            lines.append(line.decode().removesuffix("\n"))
            times.append(time.monotonic())
    assert process.returncode == 0
    assert [line for line in lines if CONTROL.search(line)] == []
    assert max(after - before for before, after in pairwise(times)) < LONGEST_PAUSE_S
    for stage in ("data", "features", "rqvae"):
        assert lines.index(f"{stage}: started") < next(
            number for number, line in enumerate(lines) if line.startswith(f"{stage}: finished in ")
        )
    assert any(re.match(r"rqvae: \d+ of 300 steps \(\d+ %\), loss \d\.\d{4}, about \d+ s left", line) for line in lines)
    again = start_command(*command(shop, tmp_path / "work"), folder=tmp_path).finish()
    assert again.returncode == 0, again.stderr
    assert "rqvae: nothing to do, its result is up to date" in again.stderr.splitlines()


def test_with_a_terminal_a_run_draws_a_bar_for_every_stage(shop: Path, tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "120"}
    process = subprocess.Popen(
        [*PROGRAM, *command(shop, tmp_path / "work")],
        cwd=REPOSITORY,
        stdout=theirs,
        stderr=theirs,
        stdin=theirs,
        env=environment,
    )
    os.close(theirs)
    shown = b""
    while True:
        try:
            shown += os.read(ours, 65536)
        except OSError:  # the process has ended
            break
    os.close(ours)
    assert process.wait(timeout=60) == 0
    text = shown.decode()
    assert "\x1b[" in text
    assert re.search(r"rqvae.*━.*300 of 300 steps \(100 %\), loss", text)
    assert "running for" not in text
    assert "rqvae: started" in text
