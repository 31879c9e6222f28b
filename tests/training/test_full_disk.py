"""What a run leaves that the machine stops: a full disk, a read-only folder, a kill, a damaged checkpoint."""

import os
import resource
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from rqrec.cli import main
from rqrec.training.cli import EXIT_REFUSED
from rqrec.training.runtime.workspace_lock import OWNER
from tests.conftest import SMALL_CONFIG
from tests.training.forked import Fork, start, start_command

OFTEN = (
    "RqVaeSettings.checkpoint_every_steps = 20",
    "RqVaeSettings.steps = 400",
    "RqVaeSettings.learning_rate = 1e-3",
)


def command(shop: Path, work: Path, *bindings: str) -> list[str]:
    config = shop.parent / f"small-{work.parent.name}.gin"
    config.write_text("\n".join([*SMALL_CONFIG, *OFTEN, *bindings]))
    return ["train-rqvae", str(config), "--dataset", str(shop), "--work-dir", str(work)]


def main_with_small_files(words: list[str], largest_file: int) -> None:
    """Runs a command whose files may have at most `largest_file` bytes."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, largest_file))
    main(words)


def complaint(done: "subprocess.CompletedProcess[str]") -> str:
    """The last line of a refused command, which has no traceback."""
    assert done.returncode == EXIT_REFUSED, done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr.splitlines()[-1]


def names(work: Path) -> set[str]:
    return {path.name for path in work.iterdir()}


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 110 KiB: the first stages fit, a checkpoint does not."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if (
        shutil.which("mount") is None
        or subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=110k", "none", str(disk)], capture_output=True, check=False
        ).returncode
    ):
        pytest.skip("needs the right to mount")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_full_disk_is_one_line_and_keeps_what_stands(shop: Path, small_disk: Path, tmp_path: Path) -> None:
    work = small_disk / "work"
    line = complaint(start_command(*command(shop, work), folder=tmp_path).finish())
    assert "No space left on device" in line
    assert "free space there, or use another folder (--work-dir)" in line
    assert (work / "features" / "stage.json").is_file()
    assert names(work) <= {"data", "features", "tensorboard", "rqvae-checkpoints"}


def test_a_limit_of_file_sizes_is_one_line(shop: Path, tmp_path: Path) -> None:
    line = complaint(start(main_with_small_files, command(shop, tmp_path / "work"), 14_000, folder=tmp_path).finish())
    assert "File too large" in line
    assert names(tmp_path / "work") <= {"data", "features", "tensorboard", "rqvae-checkpoints"}


def test_a_read_only_folder_is_one_line(shop: Path, small_disk: Path, tmp_path: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    line = complaint(start_command(*command(shop, small_disk / "work"), folder=tmp_path).finish())
    assert "Read-only file system" in line
    assert "use a folder that you may write to (--work-dir)" in line


def until_checkpoints(run: Fork, work: Path, count: int) -> list[Path]:
    give_up = time.monotonic() + 120
    while len(found := sorted(work.glob("rqvae-checkpoints/*/step-*"))) < count:
        assert run.process.exitcode is None, run.finish()
        assert time.monotonic() < give_up
        time.sleep(0.01)
    return found


def test_a_second_run_names_the_first_and_a_killed_one_leaves_nothing(shop: Path, tmp_path: Path) -> None:
    work = tmp_path / "work"
    words = command(shop, work)
    first = start_command(*words, folder=tmp_path)
    until_checkpoints(first, work, 2)
    os.kill(first.pid, signal.SIGSTOP)  # otherwise it might end before the second one begins
    try:
        second = start_command(*words, folder=tmp_path).finish()
    finally:
        os.kill(first.pid, signal.SIGKILL)
    assert f"another run (process {first.pid}) uses the workspace {work}: wait" in complaint(second)
    assert first.finish().returncode == -signal.SIGKILL
    leftovers = [path for path in work.iterdir() if path.name.startswith(".rqvae-")]
    assert len(leftovers) == 1
    newest = sorted(work.glob("rqvae-checkpoints/*/step-*"))[-1]
    state = newest / "state.pt"
    state.write_bytes(state.read_bytes()[:100])
    again = start_command(*words, folder=tmp_path).finish()
    told = again.stderr
    assert again.returncode == 0, told
    assert f"removed {leftovers[0]}, which a run that was killed left half-written" in told
    assert f"checkpoint {newest} cannot be used (state.pt does not match its checksum): trying the one before" in told
    assert "resuming from step" in told
    assert not list(work.rglob(".*"))
    assert not (work / OWNER).exists()
