"""What a run leaves that the machine stops: a full disk, a read-only folder, a kill, a damaged checkpoint."""

import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from rqrec.training.cli import EXIT_REFUSED
from rqrec.training.runtime.workspace import OWNER
from tests.conftest import SMALL_CONFIG

REPOSITORY = Path(__file__).parents[2]
OFTEN = (
    "RqVaeSettings.checkpoint_every_steps = 20",
    "RqVaeSettings.steps = 3000",
    "RqVaeSettings.learning_rate = 1e-3",
)


def command(shop: Path, work: Path, *bindings: str) -> list[str]:
    config = shop.parent / f"small-{work.parent.name}.gin"
    config.write_text("\n".join([*SMALL_CONFIG, *OFTEN, *bindings]))
    return [sys.executable, "-m", "rqrec", "train-rqvae", str(config), "--dataset", str(shop), "--work-dir", str(work)]


def run(words: list[str], *, largest_file: int | None = None) -> "subprocess.CompletedProcess[str]":
    """Runs a command; a file may have at most `largest_file` bytes."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file or 0, largest_file or 0))

    return subprocess.run(
        words,
        cwd=REPOSITORY,
        check=False,
        capture_output=True,
        text=True,
        timeout=280,
        preexec_fn=limit if largest_file else None,
    )


def complaint(done: "subprocess.CompletedProcess[str]") -> str:
    """The last line of a refused command, which has no traceback."""
    assert done.returncode == EXIT_REFUSED, done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr.splitlines()[-1]


def names(work: Path) -> set[str]:
    return {path.name for path in work.iterdir()}


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 60 KiB: the first stages fit, a checkpoint does not."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if (
        shutil.which("mount") is None
        or subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=60k", "none", str(disk)], capture_output=True, check=False
        ).returncode
    ):
        pytest.skip("needs the right to mount")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_full_disk_is_one_line_and_keeps_what_stands(shop: Path, small_disk: Path) -> None:
    work = small_disk / "work"
    line = complaint(run(command(shop, work)))
    assert "No space left on device" in line
    assert "free space there, or use another folder (--work-dir)" in line
    assert (work / "features" / "stage.json").is_file()
    assert names(work) <= {"data", "features", "tensorboard", "rqvae-checkpoints"}


def test_a_limit_of_file_sizes_is_one_line(shop: Path, tmp_path: Path) -> None:
    line = complaint(run(command(shop, tmp_path / "work"), largest_file=6_000))
    assert "File too large" in line
    assert names(tmp_path / "work") <= {"data", "features", "tensorboard", "rqvae-checkpoints"}


def test_a_read_only_folder_is_one_line(shop: Path, small_disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    line = complaint(run(command(shop, small_disk / "work")))
    assert "Read-only file system" in line
    assert "use a folder that you may write to (--work-dir)" in line


def start(words: list[str]) -> "subprocess.Popen[str]":
    return subprocess.Popen(words, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def until_checkpoints(process: "subprocess.Popen[str]", work: Path, count: int) -> list[Path]:
    give_up = time.monotonic() + 120
    while len(found := sorted(work.glob("rqvae-checkpoints/*/step-*"))) < count:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < give_up
        time.sleep(0.01)
    return found


def test_a_second_run_names_the_first_and_a_killed_one_leaves_nothing(shop: Path, tmp_path: Path) -> None:
    work = tmp_path / "work"
    words = command(shop, work)
    first = start(words)
    until_checkpoints(first, work, 2)
    assert f"another run (process {first.pid}) uses the workspace {work}: wait" in complaint(run(words))
    first.send_signal(signal.SIGKILL)
    first.communicate()
    leftovers = [path for path in work.iterdir() if path.name.startswith(".rqvae-")]
    assert len(leftovers) == 1
    newest = sorted(work.glob("rqvae-checkpoints/*/step-*"))[-1]
    state = newest / "state.pt"
    state.write_bytes(state.read_bytes()[:100])
    again = start([*words, "--set", "RqVaeSettings.steps=3000"])
    _, told = again.communicate(timeout=280)
    assert again.returncode == 0, told
    assert f"removing {leftovers[0]}, which a run that was killed left half-written" in told
    assert f"checkpoint {newest} cannot be used (state.pt does not match its checksum): trying the one before" in told
    assert "resuming from step" in told
    assert not list(work.rglob(".*"))
    assert not (work / OWNER).exists()
